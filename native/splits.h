// The splits of decision trees, one record each; see service/shapley/kernels/splits.py.
#pragma once

#include <cstdint>

#include "vectors.h"

namespace {

// A child below 0 is leaf -1 - child.
struct Split {
    double threshold;
    int32_t column, left, right, kind;
};

constexpr int MISSING_LEFT = 1, BY_CATEGORY = 2;  // of the kind of a split

// Where codes go left, (n_categorical, n_codes), the missing one last.
struct Codes {
    const uint8_t* go_left;
    int64_t n_codes;
};

INLINE bool goes_left(const Split& split, const Codes& codes, double x) {
    if (split.kind < BY_CATEGORY)
        return (x <= split.threshold) | ((split.kind == MISSING_LEFT) & (x != x));
    const int64_t missing = codes.n_codes - 1;
    const int64_t code = x > -1 && x < double(missing) ? int64_t(x) : missing;
    return codes.go_left[(split.kind - BY_CATEGORY) * codes.n_codes + code];
}

}  // namespace
