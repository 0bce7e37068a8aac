#include "targets.hpp"

#include "numpy_api.hpp"

#include <cstdlib>
#include <cstring>
#include <string>

#ifdef RELU_XP_AVX2
#include <cpuid.h>
#endif

Target choose_target() {
#ifdef RELU_XP_AVX2
    unsigned a, b, c, d;  // for features that some versions of Clang have no name for
    const bool f16c = __get_cpuid(1, &a, &b, &c, &d) && (c >> 29 & 1);
    [[maybe_unused]] const bool fp16 = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 23 & 1);
    const bool has_more = a > 0;
    [[maybe_unused]] const bool bf16 =
        has_more && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1);
    const bool avx2 = f16c && __builtin_cpu_supports("avx2");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                        __builtin_cpu_supports("avx512vl");
#endif
    const Target targets[] = {
        {"baseline", relu_xp_baseline, true},
#ifdef RELU_XP_AVX2
        {"avx2", relu_xp_avx2, avx2},
        {"avx512", relu_xp_avx512, avx512},
#endif
#ifdef RELU_XP_AVX512BF16
        {"avx512bf16", relu_xp_avx512bf16, avx512 && bf16},
#endif
#ifdef RELU_XP_AVX512FP16  // it takes GCC 12 or Clang 14
        {"avx512fp16", relu_xp_avx512fp16, avx512 && bf16 && fp16},
#endif
    };
    const char *const asked = std::getenv("RELU_XP_CPU");
    Target best = {};
    std::string names;
    for (const Target &target : targets) {
        if (!target.runs) continue;
        if (!asked || !*asked || !std::strcmp(asked, target.name)) best = target;
        names += std::string(names.empty() ? "" : ", ") + target.name;
    }
    if (!best.name)
        PyErr_Format(PyExc_ImportError, "RELU_XP_CPU is %s, and the loops here are %s", asked,
                     names.c_str());
    return best;
}
