// SPDX-License-Identifier: GPL-2.0

//! The syntax of the parameter `region`.

use kernel::{
    prelude::*,
    str::{
        parse_int::ParseInt,
        BStr, //
    }, //
};

/// One region of the list.
pub(crate) struct Named {
    pub(crate) start: u64,
    pub(crate) size: u64,
    pub(crate) nid: Option<i32>,
}

/// Splits a list of regions at commas.
pub(crate) fn split(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',')
}

/// Parses `<start>+<size>[@<node>]`. EINVAL.
pub(crate) fn parse(text: &[u8]) -> Result<Named> {
    let (start, rest) = cut(text, b'+').ok_or(EINVAL)?;
    let (size, nid) = match cut(rest, b'@') {
        Some((size, nid)) => (size, Some(i32::from_str(BStr::from_bytes(nid))?)),
        None => (rest, None),
    };

    Ok(Named {
        start: bytes(start)?,
        size: bytes(size)?,
        nid,
    })
}

fn cut(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let pos = text.iter().position(|byte| *byte == at)?;

    Some((text.get(..pos)?, text.get(pos + 1..)?))
}

/// Parses a number of bytes: decimal, or hexadecimal with 0x, with an optional suffix K, M, G or T.
fn bytes(text: &[u8]) -> Result<u64> {
    let (digits, shift) = match text.split_last() {
        Some((b'K' | b'k', digits)) => (digits, 10),
        Some((b'M' | b'm', digits)) => (digits, 20),
        Some((b'G' | b'g', digits)) => (digits, 30),
        Some((b'T' | b't', digits)) => (digits, 40),
        _ => (text, 0),
    };
    // `from_str()` would accept a sign.
    if !digits.first().is_some_and(u8::is_ascii_digit) {
        return Err(EINVAL);
    }
    let number = u64::from_str(BStr::from_bytes(digits))?;

    number.checked_mul(1 << shift).ok_or(ERANGE)
}

#[kunit_tests(cdm_emu_region_param)]
mod tests {
    use super::*;

    fn parts(text: &[u8]) -> Option<(u64, u64, Option<i32>)> {
        let region = parse(text).ok()?;

        Some((region.start, region.size, region.nid))
    }

    fn size(text: &[u8]) -> Result<u64> {
        bytes(text)
    }

    #[test]
    fn start_and_size() {
        assert_eq!(parts(b"0+0"), Some((0, 0, None)));
        assert_eq!(parts(b"1048576+2097152"), Some((1 << 20, 2 << 20, None)));
        assert_eq!(
            parts(b"0x40000000+0x200000"),
            Some((1 << 30, 2 << 20, None))
        );
        assert_eq!(parts(b"0xfF+2M"), Some((0xff, 2 << 20, None)));
        assert_eq!(parts(b"1G+512M"), Some((1 << 30, 512 << 20, None)));
    }

    #[test]
    fn numa_nodes() {
        assert_eq!(parts(b"1G+2M@0"), Some((1 << 30, 2 << 20, Some(0))));
        assert_eq!(parts(b"1G+2M@255"), Some((1 << 30, 2 << 20, Some(255))));
        // The library checks whether there is such a node.
        assert_eq!(parts(b"1G+2M@-1"), Some((1 << 30, 2 << 20, Some(-1))));
        assert_eq!(
            parts(b"1G+2M@2147483647"),
            Some((1 << 30, 2 << 20, Some(i32::MAX)))
        );
    }

    #[test]
    fn units() {
        for (shift, units) in [(10, b"kK"), (20, b"mM"), (30, b"gG"), (40, b"tT")] {
            for unit in units {
                assert_eq!(size(&[b'3', *unit]), Ok(3 << shift));
                assert_eq!(size(&[b'0', b'x', b'1', b'f', *unit]), Ok(0x1f << shift));
            }
        }
        assert_eq!(size(b"3"), Ok(3));
    }

    #[test]
    fn missing_parts_are_refused() {
        for text in [
            &b""[..],
            b"+",
            b"1G",
            b"1G+",
            b"+2M",
            b"1G@1",
            b"1G+@1",
            b"1G+2M@",
            b"@",
            b"M+M",
        ] {
            assert_eq!(parse(text).err(), Some(EINVAL));
        }
    }

    #[test]
    fn unexpected_characters_are_refused() {
        for text in [
            &b"-1+2M"[..],
            b"+1+2M",
            b"1G+-2M",
            b"1G++2M",
            b"1G+2M+4M",
            b"1G+2MM",
            b"1G+2P",
            b"1G+2 M",
            b" 1G+2M",
            b"1G+2M ",
            b"1G+0x",
            b"1G+0xM",
            b"1G+0xg",
            b"1G+12a",
            b"1G+2M@x",
            b"1G+2M@1@2",
            b"1G+2M@1K",
            b"\xff+2M",
        ] {
            assert_eq!(parse(text).err(), Some(EINVAL));
        }
    }

    #[test]
    fn too_large_numbers_are_refused() {
        assert_eq!(size(b"18446744073709551615"), Ok(u64::MAX));
        assert_eq!(size(b"0xffffffffffffffff"), Ok(u64::MAX));
        assert!(size(b"18446744073709551616").is_err());
        assert!(size(b"0x10000000000000000").is_err());
        // Too large because of the suffix.
        assert_eq!(size(b"16777215T"), Ok(0xff_ffff << 40));
        assert_eq!(size(b"16777216T"), Err(ERANGE));
        assert_eq!(size(b"18014398509481984K"), Err(ERANGE));
        assert_eq!(size(b"0xffffffffffffffffG"), Err(ERANGE));
        assert!(parse(b"1G+2M@2147483648").is_err());
        assert!(parse(b"1G+2M@-2147483649").is_err());
    }

    #[test]
    fn lists() {
        let is = |list: &[u8], expected: &[&[u8]]| split(list).eq(expected.iter().copied());

        assert!(is(b"a", &[b"a"]));
        assert!(is(b"1G+2M,2G+2M@1", &[b"1G+2M", b"2G+2M@1"]));
        // An empty part is a part, which the parser refuses.
        assert!(is(b"", &[b""]));
        assert!(is(b",a,", &[b"", b"a", b""]));
    }
}
