//! Buffers of some megabytes, whose memory the system gets back when they are freed.
//!
//! glibc keeps what is freed, up to some 30 MiB for each thread, unless it has mapped the allocation by itself. It always
//! does that above 32 MiB, and pages that are never written take no memory.

/// Smaller buffers come from memory that is used again at once.
const LARGE: usize = 128 << 10;
/// From here on every allocation is mapped by itself.
const MAPPED: usize = 33 << 20;

/// Reserves room for `additional` elements.
pub(crate) fn reserve<T>(buffer: &mut Vec<T>, additional: usize) {
    let needed = buffer.len() + additional;
    let bytes = needed * size_of::<T>();
    if needed > buffer.capacity() && bytes > LARGE {
        let room = bytes.next_power_of_two().max(MAPPED) / size_of::<T>();
        buffer.reserve_exact(room - buffer.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_buffer_is_mapped_by_itself_and_a_small_one_is_as_large_as_it_must_be() {
        let mut buffer = Vec::<u8>::new();
        reserve(&mut buffer, LARGE);
        assert_eq!(buffer.capacity(), 0, "it grows as usual");
        reserve(&mut buffer, LARGE + 1);
        let place = buffer.as_ptr();
        for _ in 0..33 {
            reserve(&mut buffer, 1 << 20);
            buffer.resize(buffer.len() + (1 << 20), 0);
        }
        assert_eq!((buffer.capacity(), buffer.as_ptr()), (MAPPED, place), "it was not moved");
    }
}
