// SPDX-License-Identifier: GPL-2.0
/*
 * Exports the Rust symbols of the hmm_cdm crate for the modules that link
 * against it. The list is made from the crate's object (see Kbuild).
 */

#include <linux/export.h>

#define EXPORT_SYMBOL_RUST_GPL(sym) extern int sym; EXPORT_SYMBOL_GPL(sym)

#include "exports_generated.h"
