// SPDX-License-Identifier: GPL-2.0

//! How a device tree node describes memory, and the checks it must pass: pure functions of the
//! bytes of its properties.

use core::iter::from_fn;
use kernel::{
    fmt,
    prelude::*, //
};

/// The first compatible string of coherent device memory.
pub(super) const COMPATIBLE: &CStr = c"ibm,coherent-device-memory";

/// Bytes in a cell.
const CELL: usize = 4;

/// The properties of a node that describes coherent device memory.
#[derive(Copy, Clone)]
pub(super) struct CdmNode<'a> {
    /// The first compatible string.
    pub(super) compatible: Option<&'a [u8]>,
    /// Whether its status is okay.
    pub(super) available: bool,
    pub(super) reg: Option<&'a [u8]>,
    /// `linux,usable-memory`: the part that the kernel uses as RAM.
    pub(super) usable: Option<&'a [u8]>,
    /// The numbers of cells in an address and in a size.
    pub(super) cells: (usize, usize),
    /// The NUMA node that the kernel has for it.
    pub(super) nid: Option<i32>,
}

/// A range of physical memory.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct TreeRange {
    pub(crate) start: u64,
    pub(crate) size: u64,
}

impl TreeRange {
    /// Returns the end of the range if `at` is in it.
    pub(super) fn end_after(&self, at: u64) -> Option<u64> {
        let offset = at.checked_sub(self.start)?;

        (offset < self.size).then(|| self.start.saturating_add(self.size))
    }
}

/// Why a node is refused.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum CdmNodeError {
    Compatible,
    Disabled,
    Cells(usize, usize),
    NoReg,
    RegLength(usize),
    RegEmpty,
    RegSeveral(usize),
    NoUsable,
    UsableLength(usize),
    Usable(u64),
    NoNid,
}

impl CdmNodeError {
    pub(super) fn errno(self) -> Error {
        match self {
            CdmNodeError::Compatible | CdmNodeError::Disabled => ENODEV,
            CdmNodeError::Cells(..)
            | CdmNodeError::NoReg
            | CdmNodeError::RegLength(_)
            | CdmNodeError::RegEmpty
            | CdmNodeError::RegSeveral(_)
            | CdmNodeError::UsableLength(_) => EINVAL,
            CdmNodeError::NoUsable | CdmNodeError::Usable(_) => EBUSY,
            CdmNodeError::NoNid => ENXIO,
        }
    }
}

impl fmt::Display for CdmNodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CdmNodeError::Compatible => f.write_fmt(fmt!(
                "the first string of compatible has to be {COMPATIBLE}"
            )),
            CdmNodeError::Disabled => write!(f, "its status is not okay"),
            CdmNodeError::Cells(address, size) => write!(
                f,
                "addresses of {address} cells and sizes of {size} are not supported"
            ),
            CdmNodeError::NoReg => write!(f, "it has no reg"),
            CdmNodeError::RegLength(len) => {
                write!(f, "reg has {len} bytes, which are no address and size")
            }
            CdmNodeError::RegEmpty => write!(f, "the size in reg is zero"),
            CdmNodeError::RegSeveral(nr) => write!(f, "reg has {nr} ranges instead of one"),
            CdmNodeError::NoUsable => write!(
                f,
                "it has no linux,usable-memory, so the kernel uses it as RAM"
            ),
            CdmNodeError::UsableLength(len) => write!(
                f,
                "linux,usable-memory has {len} bytes, which are no address and size"
            ),
            CdmNodeError::Usable(size) => write!(
                f,
                "linux,usable-memory gives {size:#x} bytes of it to the kernel as RAM"
            ),
            CdmNodeError::NoNid => write!(f, "the kernel has no NUMA node for it"),
        }
    }
}

/// Returns the ranges in a property such as `reg`. `None` if it is empty, ends in the middle of a
/// range, or has numbers of more than 64 bits.
pub(super) fn ranges(
    value: &[u8],
    cells: (usize, usize),
) -> Option<impl Iterator<Item = TreeRange> + '_> {
    if !are_supported(cells) {
        return None;
    }
    let step = (cells.0 + cells.1) * CELL;
    let mut rest = value;

    (!value.is_empty() && value.len().checked_rem(step) == Some(0)).then_some(from_fn(move || {
        let (range, after) = rest.split_at_checked(step)?;
        let (start, size) = range.split_at_checked(cells.0 * CELL)?;

        rest = after;
        Some(TreeRange {
            start: number(start),
            size: number(size),
        })
    }))
}

fn are_supported(cells: (usize, usize)) -> bool {
    (1..=2).contains(&cells.0) && (1..=2).contains(&cells.1)
}

/// Reads a number, which is big endian on every machine.
fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl CdmNode<'_> {
    /// Returns the memory's range and NUMA node if a driver may use it.
    pub(super) fn check(&self) -> Result<(TreeRange, i32), CdmNodeError> {
        if self.compatible != Some(COMPATIBLE.to_bytes()) {
            return Err(CdmNodeError::Compatible);
        }
        if !self.available {
            return Err(CdmNodeError::Disabled);
        }
        if !are_supported(self.cells) {
            return Err(CdmNodeError::Cells(self.cells.0, self.cells.1));
        }
        let range = self.range()?;

        // early_init_dt_scan_memory() in drivers/of/fdt.c takes the RAM that the kernel uses from
        // this property if it is there, else from reg.
        let usable = self.usable.ok_or(CdmNodeError::NoUsable)?;
        let ram = ranges(usable, self.cells)
            .ok_or(CdmNodeError::UsableLength(usable.len()))?
            .fold(0u64, |sum, ram| sum.saturating_add(ram.size));
        if ram != 0 {
            return Err(CdmNodeError::Usable(ram));
        }
        Ok((range, self.nid.ok_or(CdmNodeError::NoNid)?))
    }

    fn range(&self) -> Result<TreeRange, CdmNodeError> {
        let reg = self.reg.ok_or(CdmNodeError::NoReg)?;
        let wrong = CdmNodeError::RegLength(reg.len());
        let mut all = ranges(reg, self.cells).ok_or(wrong)?;
        let range = all.next().ok_or(wrong)?;

        match all.count() {
            0 if range.size == 0 => Err(CdmNodeError::RegEmpty),
            0 => Ok(range),
            more => Err(CdmNodeError::RegSeveral(more + 1)),
        }
    }
}

/// Returns whether all of `size` bytes from `start` are covered: `end_after` returns the largest
/// end of a range that contains an address. Firmware may describe one piece of memory in several
/// ranges.
pub(super) fn is_covered(start: u64, size: u64, end_after: impl Fn(u64) -> Option<u64>) -> bool {
    let Some(end) = start.checked_add(size) else {
        return false;
    };
    let mut at = start;

    while at < end {
        match end_after(at) {
            Some(next) if next > at => at = next,
            _ => return false,
        }
    }
    true
}

#[kunit_tests(hmm_cdm_device_tree)]
mod tests {
    use super::*;

    const REG: [u8; 16] = [0, 0, 0, 2, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0];
    const NONE: [u8; 16] = [0, 0, 0, 2, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    fn good() -> CdmNode<'static> {
        CdmNode {
            compatible: Some(b"ibm,coherent-device-memory"),
            available: true,
            reg: Some(&REG),
            usable: Some(&NONE),
            cells: (2, 2),
            nid: Some(255),
        }
    }

    #[test]
    fn good_node() {
        let range = TreeRange {
            start: 0x2_8000_0000,
            size: 0x2000_0000,
        };

        assert_eq!(good().check(), Ok((range, 255)));
    }

    #[test]
    fn cells_are_respected() {
        let entry = |cells, reg, usable| CdmNode {
            cells,
            reg: Some(reg),
            usable: Some(usable),
            ..good()
        };
        let one = [0x80, 0, 0, 0, 0x20, 0, 0, 0];
        let two_one = [0, 0, 0, 1, 0, 0, 0, 0, 0x20, 0, 0, 0];
        let range = |start| TreeRange {
            start,
            size: 0x2000_0000,
        };
        let checked = entry((1, 1), &one, &[0; 8]).check();
        assert_eq!(checked, Ok((range(0x8000_0000), 255)));
        let checked = entry((2, 1), &two_one, &[0; 12]).check();
        assert_eq!(checked, Ok((range(0x1_0000_0000), 255)));
        // The bytes of one range with two cells each are two ranges with one cell each.
        let checked = entry((1, 1), &REG, &[0; 8]).check();
        assert_eq!(checked, Err(CdmNodeError::RegSeveral(2)));
        for cells in [(0, 2), (2, 0), (3, 2), (2, 3), (usize::MAX, usize::MAX)] {
            let checked = entry(cells, &REG, &NONE).check();
            assert_eq!(checked, Err(CdmNodeError::Cells(cells.0, cells.1)));
        }
    }

    #[test]
    fn compatible_is_wrong() {
        let names: [Option<&[u8]>; 5] = [
            None,
            Some(b""),
            Some(b"vendor,memory"),
            Some(b"ibm,coherent-device-memor"),
            Some(b"ibm,coherent-device-memory2"),
        ];

        for compatible in names {
            let entry = CdmNode {
                compatible,
                ..good()
            };
            assert_eq!(entry.check(), Err(CdmNodeError::Compatible));
        }
    }

    #[test]
    fn reg_is_wrong() {
        let reg = |reg| CdmNode { reg, ..good() }.check();
        let twice = [REG, REG].concat_all();

        assert_eq!(reg(None), Err(CdmNodeError::NoReg));
        assert_eq!(reg(Some(&[])), Err(CdmNodeError::RegLength(0)));
        assert_eq!(reg(REG.get(..12)), Err(CdmNodeError::RegLength(12)));
        assert_eq!(reg(twice.get(..24)), Err(CdmNodeError::RegLength(24)));
        assert_eq!(reg(twice.get(..17)), Err(CdmNodeError::RegLength(17)));
        assert_eq!(reg(Some(&NONE)), Err(CdmNodeError::RegEmpty));
        assert_eq!(reg(Some(&twice)), Err(CdmNodeError::RegSeveral(2)));
    }

    #[test]
    fn usable_is_wrong() {
        let usable = |usable| CdmNode { usable, ..good() }.check();
        let nothing_then_ram = [NONE, REG].concat_all();

        assert_eq!(usable(None), Err(CdmNodeError::NoUsable));
        assert_eq!(usable(Some(&[])), Err(CdmNodeError::UsableLength(0)));
        assert_eq!(usable(NONE.get(..4)), Err(CdmNodeError::UsableLength(4)));
        assert_eq!(usable(Some(&REG)), Err(CdmNodeError::Usable(0x2000_0000)));
        let checked = usable(Some(&nothing_then_ram));
        assert_eq!(checked, Err(CdmNodeError::Usable(0x2000_0000)));
    }

    #[test]
    fn status_and_numa_node() {
        let off = CdmNode {
            available: false,
            ..good()
        };
        let nowhere = CdmNode {
            nid: None,
            ..good()
        };

        assert_eq!(off.check(), Err(CdmNodeError::Disabled));
        assert_eq!(nowhere.check(), Err(CdmNodeError::NoNid));
    }

    #[test]
    fn memory_is_covered() {
        let parts = [(0x3000, 0x1000), (0x1000, 0x1000), (0x2000, 0x1000)];
        let parts = parts.map(|(start, size)| TreeRange { start, size });
        let covered = |start, size| {
            is_covered(start, size, |at| {
                parts.iter().filter_map(|part| part.end_after(at)).max()
            })
        };

        assert!(covered(0x1000, 0x3000));
        assert!(covered(0x1800, 0x2000));
        assert!(covered(0x3fff, 1));
        assert!(!covered(0xfff, 1));
        assert!(!covered(0xfff, 0x1000));
        assert!(!covered(0x3000, 0x1001));
        assert!(!covered(0x4000, 1));
        assert!(!covered(0x3000, u64::MAX));
    }

    /// Concatenates two values of a property.
    trait ConcatAll {
        fn concat_all(&self) -> [u8; 32];
    }

    impl ConcatAll for [[u8; 16]; 2] {
        fn concat_all(&self) -> [u8; 32] {
            let mut all = [0; 32];

            for (to, from) in all.iter_mut().zip(self.iter().flatten()) {
                *to = *from;
            }
            all
        }
    }
}
