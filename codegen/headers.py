"""Reads the installed CUDA headers with libclang into the model. The only file that knows clang.

The headers are read with __CUDA_API_VERSION_INTERNAL, which makes them declare every version of every function
(cuMemAlloc beside cuMemAlloc_v2) and the per-thread-stream forms (_ptsz, _ptds), and define none of the macros that
otherwise rename one to the other. So the declarations are the list of exports.
"""

from __future__ import annotations

import glob
import re
import struct
from pathlib import Path

import clang.cindex as cindex

import codegen.model as m
from codegen.errors import Refused

_DRIVER_HEADERS = ("cuda.h", "cudaProfiler.h")
_RUNTIME_HEADERS = ("cuda_runtime_api.h", "cuda_profiler_api.h")

_INTS = {
    cindex.TypeKind.CHAR_S, cindex.TypeKind.SCHAR, cindex.TypeKind.UCHAR, cindex.TypeKind.CHAR_U,
    cindex.TypeKind.SHORT, cindex.TypeKind.USHORT, cindex.TypeKind.INT, cindex.TypeKind.UINT,
    cindex.TypeKind.LONG, cindex.TypeKind.ULONG, cindex.TypeKind.LONGLONG, cindex.TypeKind.ULONGLONG,
}
_SIGNED = {
    cindex.TypeKind.CHAR_S, cindex.TypeKind.SCHAR, cindex.TypeKind.SHORT, cindex.TypeKind.INT,
    cindex.TypeKind.LONG, cindex.TypeKind.LONGLONG,
}
_CHARS = {
    cindex.TypeKind.CHAR_S, cindex.TypeKind.SCHAR, cindex.TypeKind.UCHAR, cindex.TypeKind.CHAR_U,
}


def read_driver(include: Path) -> m.Api:
    """libcuda.so.1: what cuda.h and cudaProfiler.h declare is, name for name, what the library exports."""
    return _Reader(include, _DRIVER_HEADERS).api("driver", "cu")


def read_runtime(include: Path, library: Path) -> m.Api:
    """libcudart.so.N: the exports of the installed library; most of them are declared, some are private."""
    api = _Reader(include, _RUNTIME_HEADERS).api("runtime", "cuda")
    exported = set(dynamic_symbols(library))
    unknown = sorted(set(api.functions) - exported)
    if unknown:
        raise Refused(f"{library.name} does not export what the headers declare: {', '.join(unknown)}")
    api.undeclared = sorted(exported - set(api.functions))
    return api


def read_header(header: Path, name: str, prefix: str) -> m.Api:
    """Any header; the tests' toy API comes this way."""
    return _Reader(header.parent, (header.name,)).api(name, prefix)


class _Reader:
    def __init__(self, include: Path, headers: tuple[str, ...]):
        self._records: dict[str, m.Record] = {}
        self._headers = headers
        source = "".join(f"#include <{header}>\n" for header in headers)
        arguments = ["-xc++", "-std=c++17", "-D__CUDA_API_VERSION_INTERNAL", f"-I{include}"]
        arguments += [f"-isystem{folder}" for folder in _clang_headers()]
        self._unit = cindex.Index.create().parse(
            "headers.cpp", arguments, unsaved_files=[("headers.cpp", source)],
            options=cindex.TranslationUnit.PARSE_SKIP_FUNCTION_BODIES |
            cindex.TranslationUnit.PARSE_DETAILED_PROCESSING_RECORD)
        errors = [d for d in self._unit.diagnostics if d.severity >= cindex.Diagnostic.Error]
        if errors:
            where = errors[0].location
            raise Refused(f"{where.file}:{where.line}: error: {errors[0].spelling}")

    def api(self, name: str, prefix: str) -> m.Api:
        functions: dict[str, m.Function] = {}
        api = m.Api(name, functions, [])
        for cursor in _declarations(self._unit.cursor):
            if cursor.kind == cindex.CursorKind.FUNCTION_DECL:
                if cursor.spelling.startswith(prefix) and cursor.spelling not in functions:
                    functions[cursor.spelling] = self._function(cursor)
            elif cursor.kind == cindex.CursorKind.ENUM_DECL:
                api.enums.setdefault(cursor.type.spelling, [c.spelling for c in cursor.get_children()])
        for cursor in self._unit.cursor.get_children():
            if cursor.kind == cindex.CursorKind.MACRO_DEFINITION and \
                    cursor.spelling in ("CUDA_VERSION", "CUDART_VERSION"):
                api.cuda_version = int(list(cursor.get_tokens())[1].spelling)
        return api

    def _function(self, cursor) -> m.Function:
        params = [m.Param(p.spelling or f"argument{i}", self._type(p.type))
                  for i, p in enumerate(cursor.get_arguments())]
        return m.Function(cursor.spelling, self._type(cursor.result_type), params,
                          Path(cursor.location.file.name).name)

    def _type(self, type) -> m.Type:
        const = type.is_const_qualified()
        names = tuple(_typedefs(type))
        canonical = type.get_canonical()
        kind = canonical.kind
        out = m.Type(m.VOID, type.spelling, const=const, names=names)
        if kind == cindex.TypeKind.VOID:
            return out
        out.bytes = max(canonical.get_size(), 0)
        if kind in _INTS:
            out.kind, out.signed, out.is_char = m.INT, kind in _SIGNED, kind in _CHARS
        elif kind == cindex.TypeKind.BOOL:
            out.kind = m.BOOL
        elif kind in (cindex.TypeKind.FLOAT, cindex.TypeKind.DOUBLE):
            out.kind = m.FLOAT
        elif kind == cindex.TypeKind.ENUM:
            out.kind = m.ENUM
            out.names = (*names, canonical.get_declaration().spelling)
        elif kind == cindex.TypeKind.POINTER:
            out.kind, out.target = m.POINTER, self._type(_pointee(type))
        elif kind in (cindex.TypeKind.CONSTANTARRAY, cindex.TypeKind.INCOMPLETEARRAY):
            out.kind, out.target = m.ARRAY, self._type(type.get_canonical().element_type)
            out.count = canonical.get_array_size() if kind == cindex.TypeKind.CONSTANTARRAY else 0
        elif kind == cindex.TypeKind.RECORD:
            self._fill_record(out, canonical)
        elif kind in (cindex.TypeKind.FUNCTIONPROTO, cindex.TypeKind.FUNCTIONNOPROTO):
            out.kind = m.FUNCTION
        else:
            raise Refused(f"a type I do not know: {type.spelling} ({kind})")
        return out

    def _fill_record(self, out: m.Type, canonical) -> None:
        declaration = canonical.get_declaration()
        definition = declaration.get_definition()
        if definition is None:
            out.kind = m.OPAQUE
            return
        out.kind = m.UNION if definition.kind == cindex.CursorKind.UNION_DECL else m.STRUCT
        key = definition.type.spelling
        if key not in self._records:
            # In the table before its fields are read: a struct may point to itself.
            record = self._records[key] = m.Record(key, out.kind == m.UNION, bytes=canonical.get_size())
            for cursor in canonical.get_fields():
                record.fields.append(m.Field(cursor.spelling, self._type(cursor.type)))
        out.record = self._records[key]


def _declarations(cursor):
    """Top-level declarations, those in extern "C" blocks included."""
    for child in cursor.get_children():
        if child.kind in (cindex.CursorKind.LINKAGE_SPEC, cindex.CursorKind.UNEXPOSED_DECL):
            yield from _declarations(child)
        else:
            yield child


def _typedefs(type):
    while type.kind in (cindex.TypeKind.TYPEDEF, cindex.TypeKind.ELABORATED):
        if type.kind == cindex.TypeKind.ELABORATED:
            type = type.get_named_type()
            continue
        declaration = type.get_declaration()
        yield declaration.spelling
        type = declaration.underlying_typedef_type


def _pointee(type):
    """What a pointer points to, with as much of the header's own spelling as can be had."""
    while type.kind != cindex.TypeKind.POINTER:
        if type.kind == cindex.TypeKind.ELABORATED:
            type = type.get_named_type()
        elif type.kind == cindex.TypeKind.TYPEDEF:
            type = type.get_declaration().underlying_typedef_type
        else:
            return type.get_canonical().get_pointee()
    return type.get_pointee()


def _clang_headers() -> list[str]:
    """stddef.h and its kin, which libclang does not find by itself."""
    version = re.compile(r"clang/([\d.]+)/include$")
    found = glob.glob("/usr/lib/llvm-*/lib/clang/*/include") + glob.glob("/usr/lib/clang/*/include")
    return sorted((f for f in found if version.search(f)), reverse=True)[:1]


def dynamic_symbols(library: Path) -> list[str]:
    """Names of the functions a shared library exports (ELF64, little endian), without their versions."""
    data = library.read_bytes()
    if data[:6] != b"\x7fELF\x02\x01":
        raise Refused(f"{library} is not a 64-bit little-endian ELF file")
    section_offset, = struct.unpack_from("<Q", data, 0x28)
    entry_bytes, count = struct.unpack_from("<HH", data, 0x3a)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, section_offset + i * entry_bytes) for i in range(count)]
    names = []
    for section in sections:
        if section[1] != 11:  # SHT_DYNSYM
            continue
        strings = sections[section[6]][4]
        for at in range(section[4], section[4] + section[5], 24):
            name, info, _, index, _, _ = struct.unpack_from("<IBBHQQ", data, at)
            if info & 0xf == 2 and index != 0:  # STT_FUNC, defined here
                end = data.index(b"\0", strings + name)
                names.append(data[strings + name:end].decode())
    return names
