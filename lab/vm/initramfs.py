# SPDX-License-Identifier: GPL-2.0
"""Write the guest's root file system: a newc archive, as the kernel unpacks it.

It holds busybox, our init, the modules, the programs and a small /etc, all owned by root.
Programs are linked statically, so no file of the toolchain root is needed.
"""

import os
import stat
import subprocess

# Asked for its list of applets: the guest's may be of another architecture.
BUSYBOX = "/bin/busybox"

# Device files belong to group render, as the udev rule has it. Tests that drop root become
# uid 1000.
ETC = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\ncdm:x:1000:1000:cdm:/tmp:/bin/sh\n"
    "nobody:x:65534:65534:nobody:/:/bin/sh\n",
    "etc/group": "root:x:0:\nrender:x:105:cdm\ncdm:x:1000:\nnogroup:x:65534:\n",
    "etc/motd": "hmm-cdm guest: programs are in /lab/bin; exit powers off\n",
}


class Archive:
    """A newc cpio archive, written as it grows."""

    def __init__(self, file):
        self.file = file
        self.inode = 0
        self.dirs = set()

    def _entry(self, name, mode, data=b""):
        self.inode += 1
        name = name.encode() + b"\0"
        fields = (self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
        out = b"070701" + b"".join(b"%08X" % f for f in fields) + name
        out += b"\0" * (-len(out) % 4) + data
        self.file.write(out + b"\0" * (-len(out) % 4))

    def _parents(self, name):
        parent = os.path.dirname(name)
        if parent and parent not in self.dirs:
            self._parents(parent)
            self.dirs.add(parent)
            self._entry(parent, stat.S_IFDIR | 0o755)

    def directory(self, name):
        """Add an empty directory and its parents."""
        self._parents(name + "/.")

    def add(self, name, data, mode=0o644):
        """Add a file with the bytes or text `data`."""
        self._parents(name)
        data = data.encode() if isinstance(data, str) else data
        self._entry(name, stat.S_IFREG | mode, data)

    def copy(self, name, path, mode=0o644):
        """Add a copy of the file `path`."""
        with open(path, "rb") as file:
            self.add(name, file.read(), mode)

    def link(self, name, target):
        """Add a symbolic link."""
        self._parents(name)
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def close(self):
        """Write the end of the archive."""
        self._entry("TRAILER!!!", 0)


def write(path, guest_dir, busybox, modules, programs, files):
    """Write the archive to `path`.

    `guest_dir` holds init and what it calls; `busybox` is the guest's; `modules`
    and `programs` map names to files, `files` names to contents.
    """
    applets = subprocess.run([BUSYBOX, "--list"], check=True, capture_output=True, text=True)
    with open(path, "wb") as out:
        archive = Archive(out)
        for name in ("proc", "sys", "dev"):
            archive.directory(name)
        archive.copy("bin/busybox", busybox, 0o755)
        for applet in applets.stdout.split():
            if applet != "busybox":
                archive.link(f"bin/{applet}", "busybox")
        archive.copy("init", os.path.join(guest_dir, "init"), 0o755)
        archive.copy("lab/udev", os.path.join(guest_dir, "udev"), 0o755)
        for name, source in modules.items():
            archive.copy(f"lib/modules/hmm_cdm/{name}", source)
        for name, source in programs.items():
            archive.copy(f"lab/bin/{name}", source, 0o755)
        for name, data in {**ETC, **files}.items():
            archive.add(name, data)
        archive.close()
