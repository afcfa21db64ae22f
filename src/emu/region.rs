// SPDX-License-Identifier: GPL-2.0

//! The form of the parameter `region`.

use hmm_cdm::node::region::Region;
use kernel::{
    prelude::*,
    str::{parse_int::ParseInt, BStr},
};

/// The regions of a list that commas separate.
pub(crate) fn split(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',')
}

/// Parses `<start>+<size>[@<node>]`. EINVAL.
pub(crate) fn parse(text: &[u8]) -> Result<Region> {
    let (start, rest) = cut(text, b'+').ok_or(EINVAL)?;
    let (size, nid) = match cut(rest, b'@') {
        Some((size, nid)) => (size, Some(i32::from_str(BStr::from_bytes(nid))?)),
        None => (rest, None),
    };

    Ok(Region::new(bytes(start)?, bytes(size)?, nid))
}

fn cut(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let pos = text.iter().position(|byte| *byte == at)?;

    Some((text.get(..pos)?, text.get(pos + 1..)?))
}

/// A number of bytes: decimal, or hexadecimal with 0x, and K, M, G or T behind it.
fn bytes(text: &[u8]) -> Result<u64> {
    let (digits, shift) = match text.split_last() {
        Some((b'K' | b'k', digits)) => (digits, 10),
        Some((b'M' | b'm', digits)) => (digits, 20),
        Some((b'G' | b'g', digits)) => (digits, 30),
        Some((b'T' | b't', digits)) => (digits, 40),
        _ => (text, 0),
    };
    // A sign is accepted by the parser, but is no part of an address.
    if !digits.first().is_some_and(u8::is_ascii_digit) {
        return Err(EINVAL);
    }
    let number = u64::from_str(BStr::from_bytes(digits))?;

    number.checked_mul(1 << shift).ok_or(ERANGE)
}
