# SPDX-License-Identifier: GPL-2.0
#
# For the Kbuild file of a driver on top of hmm_cdm.ko, which includes it from
# where it is installed: include paths, symbols, and the crate for rustc. It adds to
# Kbuild's own variables, so a driver writes `ccflags-y += ...` after it, not `:=`.

hmm-cdm-dir := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))

ccflags-y += -I$(hmm-cdm-dir)/include
rustflags-y += -L $(hmm-cdm-dir)/rust --extern hmm_cdm
KBUILD_EXTRA_SYMBOLS += $(hmm-cdm-dir)/Module.symvers
