"""Compiling: from a kernel's Python function to an object file. The only module of the runtime that needs a compiler.

A kernel that is in the cache as an image (see image.py) is loaded without this module, and so without llvmlite.
"""

from functools import cache

import llvmlite.binding as llvm

from cnncc.runtime.cpu.half import CONVERSIONS
from cnncc.runtime.cpu.kernel import Kernel, Params
from cnncc.runtime.cpu.target import target


@cache
def _machine() -> llvm.TargetMachine:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    cpu, features = target().cpu, target().features
    return llvm.Target.from_triple(target().triple).create_target_machine(
        cpu=cpu, features=features, opt=3, reloc="pic", codemodel="small", jit=True
    )


@cache
def _engine() -> llvm.ExecutionEngine:
    module = llvm.parse_assembly("" if target().half else CONVERSIONS)
    module.triple = target().triple
    return llvm.create_mcjit_compiler(module, _machine())


def llvm_ir(kernel: Kernel, params: Params) -> str:
    """The optimised LLVM text of a kernel, for reading."""
    return str(_module(kernel, params, kernel.name))


def assembly(kernel: Kernel, params: Params) -> str:
    """The machine code of a kernel as text, for reading."""
    return _machine().emit_assembly(_module(kernel, params, kernel.name))


def compile_object(kernel: Kernel, params: Params, symbol: str) -> bytes:
    """Compile to a relocatable object that defines ``symbol`` and refers to nothing of Python's."""
    return _machine().emit_object(_module(kernel, params, symbol))


def load_object(data: bytes, symbol: str) -> int:
    """The address of what an object file defines as ``symbol``, 0 if it does not; it stays in memory."""
    engine = _engine()
    engine.add_object_file(llvm.ObjectFileRef.from_data(data))
    engine.finalize_object()
    return engine.get_function_address(symbol)


def _module(kernel: Kernel, params: Params, symbol: str) -> llvm.ModuleRef:
    """The kernel's LLVM module, optimised, with one visible function of the kernel's signature."""
    from cnncc.runtime.cpu.numba_target import llvm_modules

    module, *others = map(llvm.parse_assembly, llvm_modules(kernel.build(**dict(params)), symbol, _machine()))
    for other in others:
        module.link_in(other)
    _hide_all_but(module, symbol)
    _optimise(module)
    _check_self_contained(module)
    return module


def _hide_all_but(module: llvm.ModuleRef, symbol: str) -> None:
    """Make everything else private, and inline all calls."""
    for value in (*module.functions, *module.global_variables):
        if not value.is_declaration and value.name != symbol:
            value.linkage = llvm.Linkage.internal
    for function in module.functions:
        if not function.is_declaration and function.name != symbol:
            function.add_function_attribute("alwaysinline")


def _optimise(module: llvm.ModuleRef) -> None:
    """Calls are inlined before anything else, so that code is optimised once, not in each function and again in each of
    its callers. Loops of few iterations are unrolled; what is to be a vector is one already."""
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_unrolling = True
    options.loop_vectorization = options.slp_vectorization = False
    builder = llvm.create_pass_builder(_machine(), options)
    inlining = llvm.create_new_module_pass_manager()
    inlining.add_always_inliner_pass()
    inlining.add_global_dead_code_eliminate_pass()
    inlining.run(module, builder)
    passes = builder.getFunctionPassManager()
    for function in module.functions:
        if not function.is_declaration:
            passes.run(function, builder)
    cleaning = llvm.create_new_module_pass_manager()
    cleaning.add_strip_dead_prototype_pass()
    cleaning.run(module, builder)


def _check_self_contained(module: llvm.ModuleRef) -> None:
    """A kernel must not call anything that a later process could not resolve."""
    needed = [f.name for f in module.functions if f.is_declaration and not f.name.startswith("llvm.")]
    if needed:
        raise RuntimeError(f"kernel code refers to {', '.join(needed)}: something in it can raise or allocate")
