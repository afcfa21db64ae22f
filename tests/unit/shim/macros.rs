// SPDX-License-Identifier: GPL-2.0

//! The part of the `macros` crate that the driver's pure logic uses.

extern crate proc_macro;

use proc_macro::TokenStream;

/// As `macros::kunit_tests`, but the host's harness runs the tests.
#[proc_macro_attribute]
pub fn kunit_tests(_suite: TokenStream, module: TokenStream) -> TokenStream {
    let only_in_tests = "#[cfg(test)]".parse::<TokenStream>();

    only_in_tests.into_iter().flatten().chain(module).collect()
}
