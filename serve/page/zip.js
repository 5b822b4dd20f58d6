import { Failure } from "/shared/api.js";

// A ZIP archive after PKWARE's APPNOTE 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16. The files are
// stored: PNG is compressed already.
const LOCAL_HEADER = 0x04034b50;
const DIRECTORY_HEADER = 0x02014b50;
const DIRECTORY_END = 0x06054b50;
const VERSION = 20;
const UTF8_NAMES = 1 << 11;

// Larger ones need the extension ZIP64, which not every program reads.
const MOST_BYTES = 0xffffffff;
const MOST_FILES = 0xffff;

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  return crc;
});

// An archive of [{name, blob}], whose names are distinct. Rejects with a Failure if it is too large.
export async function zip(files, date = new Date()) {
  if (files.length > MOST_FILES) throw tooLarge();
  const parts = [];
  const directory = [];
  let offset = 0;
  for (const { name, blob } of files) {
    const bytes = new TextEncoder().encode(name);
    // Field by field what both headers of a file hold: 26 bytes.
    const common = fields([
      [2, VERSION],
      [2, UTF8_NAMES],
      [2, 0], // stored
      [2, dosTime(date)],
      [2, dosDate(date)],
      [4, crc32(new Uint8Array(await blob.arrayBuffer()))],
      [4, blob.size],
      [4, blob.size],
      [2, bytes.length],
      [2, 0], // no extra field
    ]);
    parts.push(fields([[4, LOCAL_HEADER]]), common, bytes, blob);
    directory.push(
      fields([[4, DIRECTORY_HEADER], [2, VERSION]]),
      common,
      // No comment, the first disk, no attributes of a file.
      fields([[2, 0], [2, 0], [2, 0], [4, 0], [4, offset]]),
      bytes,
    );
    offset += 4 + common.length + bytes.length + blob.size;
    if (offset > MOST_BYTES) throw tooLarge();
  }
  const length = directory.reduce((sum, part) => sum + part.length, 0);
  const count = files.length;
  // The first and only disk, and no comment.
  const end = fields([
    ...[[4, DIRECTORY_END], [2, 0], [2, 0], [2, count], [2, count]],
    ...[[4, length], [4, offset], [2, 0]],
  ]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

function tooLarge() {
  return new Failure("All together are too large for one zip file. Download them one by one.");
}

function crc32(bytes) {
  let crc = 0xffffffff;
  for (let at = 0; at < bytes.length; at += 1) {
    crc = CRC_TABLE[(crc ^ bytes[at]) & 0xff] ^ (crc >>> 8);
  }
  return ~crc >>> 0;
}

// Little-endian numbers of the given lengths, 2 or 4 bytes.
function fields(numbers) {
  const bytes = new DataView(new ArrayBuffer(numbers.reduce((sum, [length]) => sum + length, 0)));
  let at = 0;
  for (const [length, number] of numbers) {
    if (length === 2) bytes.setUint16(at, number, true);
    else bytes.setUint32(at, number, true);
    at += length;
  }
  return new Uint8Array(bytes.buffer);
}

function dosTime(date) {
  return (date.getHours() << 11) | (date.getMinutes() << 5) | (date.getSeconds() >> 1);
}

function dosDate(date) {
  return ((date.getFullYear() - 1980) << 9) | ((date.getMonth() + 1) << 5) | date.getDate();
}
