"""A memory handler for NumPy's arrays (NEP 49): counts allocations, lets one fail, fills memory with a byte of choice.

It is machine code, for NumPy calls it at moments when no Python may run.
"""

from __future__ import annotations

import ctypes

import llvmlite.binding as llvm
import numpy as np

SET_HANDLER = 304  # of PyDataMem_SetHandler in the table of NumPy's C API (numpy/_core/code_generators/numpy_api.py)
CODE = """
declare ptr @malloc(i64)
declare ptr @calloc(i64, i64)
declare ptr @realloc(ptr, i64)
declare void @free(ptr)
declare ptr @memset(ptr, i32, i64)

define internal i1 @refused(ptr %state) {
  %before = load i64, ptr %state
  %count = add i64 %before, 1
  store i64 %count, ptr %state
  %place = getelementptr i64, ptr %state, i64 1
  %fails_at = load i64, ptr %place
  %no = icmp eq i64 %count, %fails_at
  ret i1 %no
}
define ptr @cnncc_test_malloc(ptr %state, i64 %size) {
  %no = call i1 @refused(ptr %state)
  br i1 %no, label %fail, label %go
fail:
  ret ptr null
go:
  %found = call ptr @malloc(i64 %size)
  %place = getelementptr i64, ptr %state, i64 2
  %fill = load i64, ptr %place
  %wanted = icmp sge i64 %fill, 0
  br i1 %wanted, label %set, label %end
set:
  %byte = trunc i64 %fill to i32
  call ptr @memset(ptr %found, i32 %byte, i64 %size)
  br label %end
end:
  ret ptr %found
}
define ptr @cnncc_test_calloc(ptr %state, i64 %count, i64 %size) {
  %no = call i1 @refused(ptr %state)
  br i1 %no, label %fail, label %go
fail:
  ret ptr null
go:
  %found = call ptr @calloc(i64 %count, i64 %size)
  ret ptr %found
}
define ptr @cnncc_test_realloc(ptr %state, ptr %old, i64 %size) {
  %no = call i1 @refused(ptr %state)
  br i1 %no, label %fail, label %go
fail:
  ret ptr null
go:
  %found = call ptr @realloc(ptr %old, i64 %size)
  ret ptr %found
}
define void @cnncc_test_free(ptr %state, ptr %old, i64 %size) {
  call void @free(ptr %old)
  ret void
}
"""


class Handler(ctypes.Structure):
    """PyDataMem_Handler: its name, version 1, and its allocator."""

    _fields_ = (("name", ctypes.c_char * 127), ("version", ctypes.c_uint8),
                *((name, ctypes.c_void_p) for name in ("state", "malloc", "calloc", "realloc", "free")))


class NumpyMemory:
    """From its making on, memory of arrays comes from here, for the rest of the process.

    `state` holds how many allocations there were, the number of the one that fails, and the byte that fresh memory is
    full of (-1: whatever it held).
    """

    def __init__(self) -> None:
        self.state = (ctypes.c_int64 * 3)(0, 0, -1)
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_default_triple().create_target_machine()
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(CODE), machine)
        self._engine.finalize_object()
        names = ("malloc", "calloc", "realloc", "free")
        functions = [self._engine.get_function_address(f"cnncc_test_{name}") for name in names]
        self._handler = Handler(b"cnncc's tests", 1, ctypes.addressof(self.state), *functions)
        self._name = b"mem_handler"
        api, pointer = ctypes.pythonapi, ctypes.c_void_p
        address_in, make = api.PyCapsule_GetPointer, api.PyCapsule_New
        address_in.argtypes, address_in.restype = [ctypes.py_object, ctypes.c_char_p], pointer
        make.argtypes, make.restype = [pointer, ctypes.c_char_p, pointer], ctypes.py_object
        table = address_in(np._core._multiarray_umath._ARRAY_API, None)  # type: ignore[attr-defined]
        address = ctypes.cast(table, ctypes.POINTER(pointer))[SET_HANDLER]
        ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(address)(
            make(ctypes.addressof(self._handler), self._name, None))
        self._engine.detach()  # arrays may outlive all of Python
        for kept in (self._handler, self.state):
            api.Py_IncRef(ctypes.py_object(kept))
        assert np._core.multiarray.get_handler_name() == "cnncc's tests"  # type: ignore[attr-defined]

    def fail_after(self, count: int) -> None:
        """Lets the allocation of this number from now on fail; 0: none."""
        self.state[1] = self.state[0] + count if count else 0

    def fill(self, byte: int) -> None:
        self.state[2] = byte
