// Probabilities of margins of two classes.
#include "vectors.h"

namespace {

// 1 / (1 + exp(-x)), by the exponential of what is below 0, which does not overflow.
INLINE Doubles logistic_of(Doubles x) {
    const Doubles small = exponential(-magnitude(x));
    return (x < 0 ? small : Doubles{} + 1.0) / (1.0 + small);
}

}  // namespace

// margins (n), probabilities (n): of the second of two classes.
EXPORT(logistic)(const double* margins, double* probabilities, int64_t n) {
    const int64_t whole = n / WIDTH * WIDTH;
    for (int64_t i = 0; i < whole; i += WIDTH)
        store(probabilities + i, logistic_of(load<Doubles>(margins + i)));
    const Doubles last = logistic_of(load_some<Doubles>(margins + whole, int(n - whole)));
    for (int64_t i = whole; i < n; i++) probabilities[i] = last[i - whole];
}
