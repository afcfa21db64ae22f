# SPDX-License-Identifier: GPL-2.0
#
# Where `make install` puts things, for the Makefiles at the top and in tools/. Each variable can be
# set on the command line or in the environment. DESTDIR is put before all of them, for packages.

INSTALL ?= install
DESTDIR ?=
PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
MANDIR ?= $(PREFIX)/share/man
# udev reads /usr/local/lib, too.
UDEVDIR ?= $(PREFIX)/lib/udev/rules.d
