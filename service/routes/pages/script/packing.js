// Packs a folder as a tar, as a Blob of headers and files: no byte of a file is read before the
// upload. A zip would need the checksum of each file in front of it.

const BLOCK = 512;
const UTF_8 = new TextEncoder();

/**
 * Pack files as a tar in GNU's format.
 * @param {{path: string, file: File}[]} members
 */
function packed(members) {
  const sorted = [...members].sort((a, b) => (a.path < b.path ? -1 : 1));
  const parts = [];
  for (const { path, file } of sorted) {
    const name = UTF_8.encode(path);
    if (name.length > 100) {
      parts.push(tarHeader(UTF_8.encode("././@LongLink"), name.length + 1, "L"));
      parts.push(name, new Uint8Array(BLOCK - (name.length % BLOCK)));
    }
    parts.push(tarHeader(name.subarray(0, 100), file.size, "0"), file);
    if (file.size % BLOCK) parts.push(new Uint8Array(BLOCK - (file.size % BLOCK)));
  }
  parts.push(new Uint8Array(2 * BLOCK));
  return new Blob(parts);
}

/** Write the header of a member. Its date is fixed: the same folder gives the same bytes. */
function tarHeader(name, size, type) {
  const header = new Uint8Array(BLOCK);
  const put = (text, at) => header.set(UTF_8.encode(text), at);
  header.set(name);
  put("0000644\0", 100); // mode
  put("0000000\0", 108); // owner
  put("0000000\0", 116); // group
  putSize(header, size);
  put("00000000000\0", 136); // date
  put("        ", 148); // the checksum counts as spaces
  put(type, 156);
  put("ustar  \0", 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  put(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return header;
}

/** Write a size in octal digits, or in base 256 if it is too large for these. */
function putSize(header, size) {
  if (size < 8 ** 11) {
    header.set(UTF_8.encode(`${size.toString(8).padStart(11, "0")}\0`), 124);
    return;
  }
  header[124] = 0x80;
  for (let at = 135, rest = size; at > 124 && rest > 0; at -= 1, rest = Math.floor(rest / 256)) {
    header[at] = rest % 256;
  }
}
