// Which level of instructions this processor has: 0 the architecture's own, 1 AVX2, 2 AVX-512.
extern "C" __attribute__((visibility("default"))) int highest_level() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool has_v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                        __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    if (!has_v3) return 0;
    const bool has_v4 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                        __builtin_cpu_supports("avx512vl");
    return has_v4 ? 2 : 1;
#else
    return 0;
#endif
}
