// Qualifiers that let one definition serve the C++ and the CUDA compiler.
#pragma once

#if defined(__CUDACC__)
#define MEDADV_HD __host__ __device__ __forceinline__
#define MEDADV_HD_CALL __host__ __device__ __noinline__  // where inlining would cost minutes of compiling
#else
#define MEDADV_HD inline
#define MEDADV_HD_CALL inline
#endif

// One clone of a hot function per instruction set; the loader picks the best one. Left out where the
// loader has no such choice to make, and under sanitizers, whose runtime starts after the loader.
#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__CUDACC__) && !defined(__SANITIZE_ADDRESS__) && !defined(MEDADV_NO_CLONES)
#define MEDADV_CLONES 1
#define MEDADV_SIMD __attribute__((flatten, target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define MEDADV_CLONES 0
#define MEDADV_SIMD
#endif

// Before a loop whose iterations write to no memory that another one reads or writes; and before a short inner
// loop that must vanish for the outer one to be vectorised. Plain loops and not the compiler's vector types:
// those are split up for the baseline before a clone is made.
#if defined(__GNUC__) && !defined(__clang__)
#define MEDADV_INDEPENDENT _Pragma("GCC ivdep")
#define MEDADV_UNROLL _Pragma("GCC unroll 8")
#define MEDADV_UNROLL_16 _Pragma("GCC unroll 16")
#else
#define MEDADV_INDEPENDENT
#define MEDADV_UNROLL
#define MEDADV_UNROLL_16
#endif

// How far the CUDA compiler unrolls a loop: all of it, so that an array it walks lives in registers; or not at
// all, where that would take too many.
#if defined(__CUDACC__)
#define MEDADV_PRAGMA(words) _Pragma(#words)
#define MEDADV_UNROLL_BY(n) MEDADV_PRAGMA(unroll n)
#else
#define MEDADV_UNROLL_BY(n)
#endif
