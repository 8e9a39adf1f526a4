"""Makes the images that benches/images measures with, from the files of this machine: the same machine, the same image.

`app` has twelve layers of about 1.5 GB and 80,000 entries in all, cut from /usr, with what real images have besides plain
files: whiteouts, opaque directories, hard links, attributes, devices and long names. `one` has a single layer: the files
of the packages that every Debian has. Both become blobs of an OCI image layout, compressed by gzip as docker does it.
"""
import gzip, hashlib, io, json, os, stat, subprocess, tarfile

MB = 1 << 20
# Megabytes of the layers of `app`, the lowest first.
SHAPE = [120, 430, 260, 180, 150, 120, 90, 60, 40, 30, 15, 5]
# Bytes a file of `app` has on average, and the largest file that is taken.
AVERAGE, LARGEST = 27_000, 32 * MB
EPOCH = 1_700_000_000
GZIP_LEVEL = 6


class Counted:
    """A writer that knows digest and length of what went through."""

    def __init__(self, below):
        self.below, self.digest, self.size = below, hashlib.sha256(), 0

    def write(self, data):
        self.digest.update(data)
        self.size += len(data)
        return self.below.write(data)

    def flush(self):
        self.below.flush()

    def name(self):
        return "sha256:" + self.digest.hexdigest()


def entry(name, kind=tarfile.REGTYPE, mode=0o644, **more):
    made = tarfile.TarInfo(name)
    made.type, made.mode, made.mtime = kind, mode, EPOCH
    for key, value in more.items():
        setattr(made, key, value)
    return made


class Layer:
    """One layer that is being written: its tar, and what it has by now."""

    def __init__(self, blobs):
        self.blobs = blobs
        self.temporary = os.path.join(blobs, ".new")
        self.compressed = Counted(open(self.temporary, "wb"))
        self.gzip = gzip.GzipFile("", "wb", GZIP_LEVEL, self.compressed, mtime=0)
        self.plain = Counted(self.gzip)
        self.tar = tarfile.open(fileobj=self.plain, mode="w|", format=tarfile.PAX_FORMAT)
        self.directories, self.files, self.entries, self.bytes = set(), [], 0, 0

    def add(self, made, data=None):
        self.tar.addfile(made, data)
        self.entries += 1
        self.bytes += made.size

    def directory(self, name):
        if name and name not in self.directories:
            self.directory(os.path.dirname(name))
            self.directories.add(name)
            self.add(entry(name, tarfile.DIRTYPE, 0o755))

    def host_file(self, path, found):
        """A file or symbolic link of this machine under its own name."""
        name = path.lstrip("/")
        self.directory(os.path.dirname(name))
        if stat.S_ISLNK(found.st_mode):
            self.add(entry(name, tarfile.SYMTYPE, 0o777, linkname=os.readlink(path)))
            return
        made = entry(name, mode=stat.S_IMODE(found.st_mode), size=found.st_size, uid=found.st_uid, gid=found.st_gid)
        number = len(self.files)
        if number % 400 == 0:
            made.pax_headers = {"SCHILY.xattr.user.origin": "bench"}
        with open(path, "rb") as data:
            self.add(made, data)
        self.files.append(name)
        if number % 55 == 0:
            self.add(entry(name + ".link", tarfile.LNKTYPE, linkname=name))

    def finish(self):
        self.tar.close()
        self.gzip.close()
        self.compressed.below.close()
        os.rename(self.temporary, os.path.join(self.blobs, self.compressed.digest.hexdigest()))
        described = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                     "digest": self.compressed.name(), "size": self.compressed.size}
        return described, self.plain.name()


def usable(path):
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    plain = stat.S_ISREG(found.st_mode) and found.st_size <= LARGEST
    return found if plain or stat.S_ISLNK(found.st_mode) else None


def host_files(root):
    for directory, below, names in os.walk(root):
        below.sort()
        for name in sorted(names):
            path = os.path.join(directory, name)
            found = usable(path)
            if found:
                yield path, found


def fill(layer, source, limit):
    """Takes files until the layer has `limit` bytes; leaves large ones out while the average is too high."""
    for path, found in source:
        ahead = layer.bytes > AVERAGE * (layer.entries + 200)
        if not (ahead and found.st_size > AVERAGE):
            layer.host_file(path, found)
        if layer.bytes >= limit:
            return


def base(layer):
    """What a container needs to start, and the kinds of entries that /usr has not."""
    for name in ("bench", "dev", "etc", "proc", "sys", "tmp"):
        layer.directory(name)
    with open("/bin/busybox", "rb") as data:
        size = os.fstat(data.fileno()).st_size
        layer.add(entry("bench/busybox", mode=0o755, size=size), data)
    text = b"root:x:0:0:root:/root:/bin/sh\n"
    layer.add(entry("etc/passwd", size=len(text)), io.BytesIO(text))
    for name, minor in (("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)):
        layer.add(entry("dev/" + name, tarfile.CHRTYPE, 0o666, devmajor=1, devminor=minor))
    for number in range(20):
        layer.add(entry(f"bench/{number:0250d}"))


def hide(layer, lower):
    """Whiteouts of every 50th file of the layer below, and opaque marks in directories of this one."""
    for name in lower.files[::50][:130]:
        directory, last = os.path.split(name)
        layer.add(entry(f"{directory}/.wh.{last}"))
    deep = sorted(name for name in layer.directories if name.count("/") > 3)
    for name in deep[::7][:80]:
        layer.add(entry(f"{name}/.wh..wh..opq"))


def required_files():
    """The files of the packages that every Debian has."""
    listed = subprocess.run(["dpkg-query", "-W", "-f", "${Priority} ${Package}\n"], check=True, text=True, capture_output=True)
    packages = [line.split()[1] for line in listed.stdout.splitlines() if line.startswith("required ")]
    listed = subprocess.run(["dpkg-query", "-L", *packages], check=True, text=True, capture_output=True)
    for path in sorted(set(listed.stdout.splitlines())):
        # Both /lib/x and /usr/lib/x may be listed; /lib is a link.
        found = usable(path) if os.path.realpath(os.path.dirname(path)) == os.path.dirname(path) else None
        if found:
            yield path, found


def put(blobs, document):
    data = json.dumps(document, sort_keys=True).encode()
    digest = hashlib.sha256(data).hexdigest()
    with open(os.path.join(blobs, digest), "wb") as out:
        out.write(data)
    return "sha256:" + digest, len(data)


def image(layout, name, layers):
    """Writes the layers of one image; answers its index entry and a line that says what it is."""
    blobs = os.path.join(layout, "blobs/sha256")
    done = [layer.finish() for layer in layers(blobs)]
    config = put(blobs, {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bench/busybox", "true"]},
                         "rootfs": {"type": "layers", "diff_ids": [diff for _, diff in done]}})
    manifest = put(blobs, {
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config[0], "size": config[1]},
        "layers": [described for described, _ in done]})
    return {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": manifest[0], "size": manifest[1],
            "annotations": {"org.opencontainers.image.ref.name": name}}


def make(layout):
    """Makes the layout with both images; a file `about` says what they are."""
    os.makedirs(os.path.join(layout, "blobs/sha256"))
    about = []

    def told(name, layers):
        entries, size = sum(l.entries for l in layers), sum(l.bytes for l in layers)
        packed = sum(l.compressed.size for l in layers)
        about.append(f"{name}: {len(layers)} layers, {packed / 1e6:.0f} MB gzip, {size / 1e6:.0f} MB unpacked, {entries} entries")

    def app(blobs):
        source, made = host_files("/usr"), []
        for number, megabytes in enumerate(SHAPE):
            layer = Layer(blobs)
            if number == 0:
                base(layer)
            fill(layer, source, megabytes * MB)
            if made:
                hide(layer, made[-1])
            made.append(layer)
            yield layer
        told("app", made)

    def one(blobs):
        layer = Layer(blobs)
        base(layer)
        fill(layer, required_files(), 1 << 40)
        yield layer
        told("one", [layer])

    manifests = [image(layout, name, layers) for name, layers in (("app", app), ("one", one))]
    with open(os.path.join(layout, "index.json"), "w") as out:
        json.dump({"schemaVersion": 2, "manifests": manifests}, out)
    with open(os.path.join(layout, "oci-layout"), "w") as out:
        json.dump({"imageLayoutVersion": "1.0.0"}, out)
    with open(os.path.join(layout, "about"), "w") as out:
        out.write("\n".join(about) + "\n")
