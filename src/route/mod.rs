//! Where a call goes: the dial plan as a value. A call's number, source and time go in, a
//! destination and the reason for it come out.
