"""Images: a kernel's code as one block of bytes that runs wherever it lies, so that loading it is copying it.

An ELF object of x86-64 becomes one by laying its sections out and resolving the references between them, all of which
are relative. What refers to anything else (the conversions of half.py, say) stays an object file.

    magic (16 bytes) | offset of the function (int64, little-endian) | zeros up to 64 | sections
"""

import ctypes
import mmap
import os
import struct
import sys

_MAGIC = b"cnncc-image-1\n\0\0"
_START = 64
_SECTION, _SYMBOL, _RELOCATION = struct.Struct("<IIQQQQIIQQ"), struct.Struct("<IBBHQQ"), struct.Struct("<QQq")
# ELF-64: kinds of sections, their flags, and relocations that are S + A - P in 32 bits.
_PROGBITS, _SYMTAB, _RELA = 1, 2, 4
_WRITE, _ALLOC = 1, 2
_R_X86_64_PC32, _R_X86_64_PLT32 = 2, 4

_mapped: list[mmap.mmap] = []  # what is mapped stays mapped


def from_object(elf: bytes, symbol: str) -> bytes | None:
    """The image of the function `symbol` of an object file; None where it cannot be one here."""
    if not _is_possible() or elf[:5] != b"\x7fELF\x02" or struct.unpack_from("<H", elf, 18) != (62,):
        return None
    at, count = struct.unpack_from("<Q", elf, 40)[0], struct.unpack_from("<H", elf, 60)[0]
    sections = [_SECTION.unpack_from(elf, at + _SECTION.size * n) for n in range(count)]
    names = sections[struct.unpack_from("<H", elf, 62)[0]][4]
    code, places = _lay_out(elf, sections, names)
    if code is None:
        return None
    table = next(s for s in sections if s[1] == _SYMTAB)
    symbols = [_SYMBOL.unpack_from(elf, at) for at in range(table[4], table[4] + table[5], _SYMBOL.size)]
    for section in sections:
        if section[1] == _RELA and section[7] in places and not _resolve(elf, section, code, places, symbols):
            return None
    strings = sections[table[6]][4]
    entry = next((places[section] + value for name, _, _, section, value, _ in symbols
                  if section in places and _text(elf, strings + name) == symbol), None)
    if entry is None:
        return None
    return (_MAGIC + struct.pack("<q", entry)).ljust(_START, b"\0") + bytes(code)


def is_image(data: bytes) -> bool:
    return data.startswith(_MAGIC)


def load(data: bytes) -> int:
    """The address of the function, in memory of its own that is written before it becomes executable."""
    block = mmap.mmap(-1, len(data))
    block.write(data)
    address = ctypes.addressof(ctypes.c_char.from_buffer(block))
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    size = -(-len(data) // mmap.PAGESIZE) * mmap.PAGESIZE
    if protect(ctypes.c_void_p(address), ctypes.c_size_t(size), mmap.PROT_READ | mmap.PROT_EXEC) != 0:
        raise OSError(ctypes.get_errno(), "this system does not let cnncc run the kernels that it compiled")
    _mapped.append(block)
    return int(address + _START + struct.unpack_from("<q", data, len(_MAGIC))[0])


def _is_possible() -> bool:
    return sys.platform == "linux" and os.uname().machine == "x86_64"


def _lay_out(elf: bytes, sections: list[tuple[int, ...]], names: int) -> tuple[bytearray | None, dict[int, int]]:
    """The sections that are in memory at run time, one after the other, and where each lies; None if one is writable.
    Nothing unwinds a kernel, so tables for that are left out."""
    code, places = bytearray(), dict[int, int]()
    for number, (name, kind, flags, _, offset, size, _, _, alignment, _) in enumerate(sections):
        if flags & _ALLOC and size and _text(elf, names + name) != ".eh_frame":
            if kind != _PROGBITS or flags & _WRITE or alignment > _START:
                return None, places
            code += bytes(-len(code) % max(alignment, 1))
            places[number] = len(code)
            code += elf[offset:offset + size]
    return code, places


def _resolve(elf: bytes, section: tuple[int, ...], code: bytearray, places: dict[int, int],
             symbols: list[tuple[int, ...]]) -> bool:
    """Write the references of one section; whether all are to sections of the image."""
    for at in range(section[4], section[4] + section[5], _RELOCATION.size):
        offset, info, addend = _RELOCATION.unpack_from(elf, at)
        target = symbols[info >> 32]
        if info & 0xFFFFFFFF not in (_R_X86_64_PC32, _R_X86_64_PLT32) or target[3] not in places:
            return False
        place = places[section[7]] + offset
        struct.pack_into("<i", code, place, places[target[3]] + target[4] + addend - place)
    return True


def _text(elf: bytes, at: int) -> str:
    return elf[at:elf.index(b"\0", at)].decode()
