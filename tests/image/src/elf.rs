//! Looks at a program just enough to know whether it needs anything beside it.

/// A program header that names the loader of shared libraries.
const INTERPRETER: u32 = 3;

/// Whether a program runs in an image that has nothing else. Refuses what is no 64-bit little-endian ELF program.
pub fn is_static(program: &[u8]) -> anyhow::Result<bool> {
    let number = |at: usize, bytes: usize| -> Option<u64> {
        let field = program.get(at..at.checked_add(bytes)?)?;
        Some(field.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    };
    let headers = || -> Option<Vec<u32>> {
        if program.get(..6)? != b"\x7fELF\x02\x01" {
            return None;
        }
        let (start, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
        let at = |index: u64| usize::try_from(start.checked_add(index.checked_mul(size)?)?).ok();
        (0..count).map(|index| u32::try_from(number(at(index)?, 4)?).ok()).collect()
    };
    let kinds = headers().ok_or_else(|| anyhow::anyhow!("this is no 64-bit program for Linux"))?;
    Ok(!kinds.contains(&INTERPRETER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_names_a_loader_is_not_static() {
        let program = |kinds: &[u8]| {
            let mut bytes = vec![0; 64 + kinds.len() * 56];
            bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
            (bytes[32], bytes[54], bytes[56]) = (64, 56, u8::try_from(kinds.len()).unwrap());
            for (index, kind) in kinds.iter().enumerate() {
                bytes[64 + index * 56] = *kind;
            }
            bytes
        };
        assert!(is_static(&program(&[1, 1, 2])).unwrap());
        assert!(!is_static(&program(&[6, 3, 1])).unwrap());
        assert!(is_static(&program(&[1, 1, 1])[..130]).is_err(), "cut off");
        assert!(is_static(b"#!/bin/sh\n").is_err());
    }

    #[test]
    fn this_test_is_not_static() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(is_static(&own).unwrap(), cfg!(target_feature = "crt-static"));
    }
}
