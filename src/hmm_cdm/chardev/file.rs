// SPDX-License-Identifier: GPL-2.0

//! An open file.

use super::jobs::Jobs;
use crate::{
    device::{
        Context,
        Device, //
    },
    mirror::{
        Member,
        Mirror, //
    },
    os::module::ModuleRef,
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// An open file.
///
/// Fields are dropped in order: the driver's state first, the reference on its module last.
pub(crate) struct CdmFile {
    pub(super) context: KBox<dyn Context>,
    pub(super) jobs: Pin<KBox<Jobs>>,
    pub(super) _member: Option<Member>,
    pub(super) mirror: Arc<Mirror>,
    pub(super) device: Arc<Device>,
    pub(super) _module: ModuleRef,
}
