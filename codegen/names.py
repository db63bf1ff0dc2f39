"""CUDA's names in Cap'n Proto's spelling and in C++ that we write."""

from __future__ import annotations

# Names that generated functions use themselves; a parameter called so gets an underscore.
_OURS = {"session", "call", "args", "reply", "result", "results", "per_thread_default", "list", "i",
         "function"}


def schema_type(name: str) -> str:
    """cuMemAlloc_v2 -> CuMemAllocV2, CUmemPoolProps_st -> CUmemPoolProps, CUDA_TEXTURE_DESC_st -> CuTextureDesc (the
    runtime has a cudaTextureDesc)."""
    for suffix in ("_st", "_struct"):
        name = name.removesuffix(suffix)
    words = [w for w in name.split("_") if w]
    if name.upper() == name:
        words = ["cu" if w == "CUDA" else w.lower() for w in words]
    return "".join(w[0].upper() + w[1:] for w in words)


def schema_field(name: str) -> str:
    """hStream -> hStream, Flags -> flags, graph_out -> graphOut, res.array.hArray -> resArrayHArray."""
    words = [w for part in name.split(".") for w in part.split("_") if w]
    joined = words[0] + "".join(w[0].upper() + w[1:] for w in words[1:])
    return joined[0].lower() + joined[1:]


def cxx_name(name: str) -> str:
    return name + "_" if name in _OURS else name
