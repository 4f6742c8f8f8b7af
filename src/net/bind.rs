//! Binding SIP sockets. An IPv6 one takes no IPv4 with it, so that `0.0.0.0` and `[::]` can both
//! be listened on.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections the kernel keeps until they are accepted.
const BACKLOG: i32 = 1_024;
/// Bytes of datagrams the kernel may hold for us; it may give less (net.core.rmem_max).
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// For tokio: it does not block.
pub fn udp(local: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket(local, Type::DGRAM, Protocol::UDP)?;
    // As much as the system lets us have: a flood must not crowd out others in the kernel.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
    socket.bind(&local.into())?;
    Ok(socket.into())
}

/// For tokio: it does not block.
pub fn tcp(local: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(local, Type::STREAM, Protocol::TCP)?;
    // Connections of an earlier run may still be dying on this port.
    socket.set_reuse_address(true)?;
    socket.bind(&local.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn socket(local: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(local), kind, Some(protocol))?;
    if local.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}
