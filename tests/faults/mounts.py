"""A small disk of its own: a tmpfs, where this process may mount one."""
import errno
import subprocess


class Disk:
    def __init__(self, path, size):
        self.path, self.size = path, size

    def __enter__(self):
        self.path.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self.size},mode=755", "tmpfs", self.path], check=True)
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", "-l", self.path], check=True)

    def fill(self):
        """To the last byte."""
        with open(self.path / "filler", "wb", buffering=0) as file:
            for piece in (65536, 512, 1):
                try:
                    while True:
                        file.write(bytes(piece))
                except OSError as e:
                    if e.errno != errno.ENOSPC:
                        raise

    def free(self):
        (self.path / "filler").unlink()
