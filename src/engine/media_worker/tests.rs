pub fn planted(_payload: &[u8]) {}
