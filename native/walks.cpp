// Exact Shapley values of sums of decision trees for each background row, by following the paths
// that hybrid rows can take; see service/shapley/trees/traversal.py. And which leaves whole rows
// reach: their sums, and how many rows reach each.
#include <algorithm>
#include <vector>

#include "splits.h"

namespace {

// Background rows that walk together: one bit of a word for each.
constexpr int64_t TOGETHER = 64;

typedef uint64_t Mask;

struct Trees {
    const Split* splits;
    const int32_t *roots, *owner;   // (n_trees), and the feature of each column
    const double *value, *weights;  // (n_leaves, n_outputs), (n_weights, n_weights, 2)
    Codes codes;
    int64_t n_trees, n_splits, n_features, n_weights;

    // The splits of a tree lie in one piece, one tree after another; a tree may be a leaf alone.
    int64_t end_of(int64_t tree) const {
        while (++tree < n_trees)
            if (roots[tree] >= 0) return roots[tree];
        return n_splits;
    }
};

// The leaf that a row reaches.
INLINE int32_t reached_leaf(const Split* splits, const Codes& codes, int32_t node,
                            const double* row) {
    while (node >= 0) {
        const Split& split = splits[node];
        node = goes_left(split, codes, row[split.column]) ? split.left : split.right;
    }
    return -1 - node;
}

// What a leaf gives and takes, by how many features are outside and inside, side by side.
std::vector<double> side_by_side(const double* weights, int64_t n) {
    std::vector<double> both(size_t(n * n * 2));
    for (int64_t outside = 0; outside < n; outside++)
        for (int64_t inside = 0; inside < n; inside++) {
            double* to = &both[size_t((outside * n + inside) * 2)];
            to[0] = weights[inside * n + outside];
            to[1] = weights[outside * n + inside];
        }
    return both;
}

// Call a function with the place of each row of a mask.
template <typename Function>
INLINE void for_each(Mask mask, Function function) {
    for (; mask; mask &= mask - 1) function(__builtin_ctzll(mask));
}

// Which of the numbers are at most a threshold.
INLINE Mask at_most(const double* numbers, double threshold) {
    Mask mask = 0;
    for (int64_t start = 0; start < TOGETHER; start += WIDTH) {
        const Doubles x = load<Doubles>(numbers + start);
#if defined(__AVX512F__)
        const Mask some = _mm512_cmp_pd_mask(__m512d(x), _mm512_set1_pd(threshold), _CMP_LE_OQ);
#elif defined(__AVX2__)
        const Mask some = Mask(_mm256_movemask_pd(__m256d(x <= threshold)));
#else
        const Longs left = x <= threshold;
        Mask some = 0;
        for (int lane = 0; lane < WIDTH; lane++) some |= Mask(left[lane] & 1) << lane;
#endif
        mask |= some << start;
    }
    return mask;
}

// Up to 64 background rows, column by column.
struct Others {
    std::vector<double> numbers;  // (n_columns, TOGETHER)
    std::vector<Mask> missing;    // of each column: which rows have no number
    Mask all;

    Others(const double* rows, int64_t n_rows, int64_t n_columns)
        : numbers(size_t(n_columns * TOGETHER)),
          missing(size_t(n_columns)),
          all(~Mask(0) >> (TOGETHER - n_rows)) {
        for (int64_t row = 0; row < n_rows; row++)
            for (int64_t column = 0; column < n_columns; column++) {
                const double x = rows[row * n_columns + column];
                numbers[size_t(column * TOGETHER + row)] = x;
                missing[size_t(column)] |= Mask(x != x) << row;
            }
    }

    // Which rows go left at a split. Trees that met nothing missing send it either way, as it comes:
    // to guess which would often fail.
    INLINE Mask go_left(const Split& split, const Codes& codes) const {
        const double* x = &numbers[size_t(split.column * TOGETHER)];
        if (split.kind < BY_CATEGORY)
            return at_most(x, split.threshold) |
                   (missing[size_t(split.column)] & -Mask(split.kind == MISSING_LEFT));
        Mask left = 0;
        for_each(all, [&](int i) { left |= Mask(goes_left(split, codes, x[i])) << i; });
        return left;
    }
};

// Where rows go at each split of a tree. Walks come to most splits, and to many of them again and
// again; asking all of them beforehand, one after another, waits for none.
struct Decided {
    std::vector<Mask> others_left;
    std::vector<uint8_t> row_left;

    explicit Decided(int64_t n_splits) : others_left(size_t(n_splits)), row_left(size_t(n_splits)) {}

    void decide(const Split* splits, int64_t n_splits, const Codes& codes, const double* row) {
        for (int64_t i = 0; i < n_splits; i++)
            row_left[size_t(i)] = goes_left(splits[i], codes, row[splits[i].column]);
    }

    void decide(const Split* splits, int64_t n_splits, const Codes& codes, const Others& others) {
        for (int64_t i = 0; i < n_splits; i++)
            others_left[size_t(i)] = others.go_left(splits[i], codes);
    }
};

// A way that waits until the one before it is done. Where rows part on a feature, the way of the
// background rows waits for that of the explained row, and then becomes the one that is being gone.
enum Stage : uint8_t { APART, INSIDE, OUTSIDE };

struct Way {
    Stage stage;
    int32_t feature, node;
    int outside;
    Mask rows;
};

// What walks need besides the trees; between two of them no feature is inside or outside.
struct Room {
    std::vector<Mask> inside;         // of each feature: for which rows it is the explained row's
    std::vector<uint8_t> is_outside;  // whether it is the background rows' own
    std::vector<int32_t> n_inside;    // for each row
    std::vector<double> sums;         // (TOGETHER, n_outputs, 2): what leaves gave and took
    std::vector<Way> ways;

    // Rows that stand apart wait in ever smaller groups, and part once on each feature.
    Room(const Trees& trees, int64_t n_outputs)
        : inside(size_t(trees.n_features)),
          is_outside(size_t(trees.n_features)),
          n_inside(TOGETHER),
          sums(size_t(TOGETHER * n_outputs * 2)),
          ways(size_t(trees.n_weights + TOGETHER)) {}
};

// Walk through one tree with some background rows, and add to what features get.
//
// Where rows part, the feature gets what leaves have given when the way of the explained row is done
// and had not when it began, and loses what they have taken on that of the background rows.
template <int FIXED>
void walk(const Trees& trees, int64_t tree, const Decided& decided, Mask all, Room& room,
          double* values, int n_any) {
    const int n_outputs = FIXED ? FIXED : n_any;
    double* const sums = room.sums.data();
    int32_t* const n_inside = room.n_inside.data();
    const Way* const bottom = room.ways.data();
    Way* top = room.ways.data();
    const int32_t root = trees.roots[tree];
    int32_t node = root;
    Mask alive = all;
    int outside = 0;
    std::fill(room.sums.begin(), room.sums.end(), 0.0);
    const auto add = [&](double sign, int i, int32_t feature, int taken) {
        double* to = values + (i * trees.n_features + feature) * n_outputs;
        for (int k = 0; k < n_outputs; k++) to[k] += sign * sums[(i * n_outputs + k) * 2 + taken];
    };
    while (true) {
        while (node >= 0) {
            const Split& split = trees.splits[node];
            const int32_t feature = trees.owner[split.column];
            if (room.is_outside[feature]) {
                const Mask left = alive & decided.others_left[size_t(node - root)];
                const Mask right = alive & ~left;
                if (left && right) *top++ = {APART, feature, split.right, outside, right};
                alive = left ? left : right;
                node = left ? split.left : split.right;
                continue;
            }
            const bool row_left = decided.row_left[size_t(node - root)];
            const Mask asked = alive & ~room.inside[feature];
            const Mask left = asked & decided.others_left[size_t(node - root)];
            const Mask parted = row_left ? asked & ~left : left;
            node = row_left ? split.left : split.right;
            if (!parted) continue;
            *top++ = {INSIDE, feature, row_left ? split.right : split.left, outside, parted};
            room.inside[feature] |= parted;
            for_each(parted, [&](int i) {
                n_inside[i]++;
                add(-1, i, feature, 0);
            });
        }
        const double* leaf = trees.value + int64_t(-1 - node) * n_outputs;
        const double* weights = trees.weights + outside * trees.n_weights * 2;
        for_each(alive, [&](int i) {
            const double* weight = weights + n_inside[i] * 2;
            double* to = sums + i * n_outputs * 2;
            for (int k = 0; k < n_outputs; k++) {
                to[2 * k] += leaf[k] * weight[0];
                to[2 * k + 1] += leaf[k] * weight[1];
            }
        });
        for (; top > bottom && top[-1].stage == OUTSIDE; top--) {
            const Way& done = top[-1];
            for_each(done.rows, [&](int i) { add(-1, i, done.feature, 1); });
            room.is_outside[done.feature] = false;
        }
        if (top == bottom) return;
        Way& next = top[-1];
        node = next.node;
        alive = next.rows;
        outside = next.outside;
        if (next.stage == APART) {
            top--;
            continue;
        }
        for_each(alive, [&](int i) {
            n_inside[i]--;
            add(1, i, next.feature, 0);
            add(1, i, next.feature, 1);
        });
        room.inside[next.feature] &= ~alive;
        room.is_outside[next.feature] = true;
        next.stage = OUTSIDE;
        outside++;
    }
}

}  // namespace

// Add to the Shapley values of a row against each background row.
//
// splits (n_splits), roots (n_trees), value (n_leaves, n_outputs), owner (n_columns), weights
// (n_weights, n_weights), code_goes_left (n_categorical, n_codes), row (n_columns), rows (n_rows,
// n_columns), values (n_rows, n_features, n_outputs), to which is added.
EXPORT(path_values)
(const Split* splits, const int32_t* roots, const double* value, const int32_t* owner,
 const double* weights, const uint8_t* code_goes_left, const double* row, const double* rows,
 double* values, int64_t n_trees, int64_t n_splits, int64_t n_rows, int64_t n_columns,
 int64_t n_features, int64_t n_outputs, int64_t n_weights, int64_t n_codes) {
    const std::vector<double> both = side_by_side(weights, n_weights);
    const Trees trees{splits,  roots,      owner,    value, both.data(), {code_goes_left, n_codes},
                      n_trees, n_splits,   n_features, n_weights};
    std::vector<Others> blocks;
    for (int64_t start = 0; start < n_rows; start += TOGETHER)
        blocks.emplace_back(rows + start * n_columns, std::min(TOGETHER, n_rows - start), n_columns);
    Room room(trees, n_outputs);
    const auto one_walk = n_outputs == 1 ? walk<1> : n_outputs == 2 ? walk<2> : walk<0>;
    Decided decided(n_splits);
    // A tree stays in the processor's cache while all rows walk through it.
    for (int64_t tree = 0; tree < n_trees; tree++) {
        const Split* first = splits + std::max(roots[tree], 0);
        const int64_t n_own = roots[tree] < 0 ? 0 : trees.end_of(tree) - roots[tree];
        decided.decide(first, n_own, trees.codes, row);
        double* of_block = values;
        for (const Others& others : blocks) {
            decided.decide(first, n_own, trees.codes, others);
            one_walk(trees, tree, decided, others.all, room, of_block, int(n_outputs));
            of_block += TOGETHER * n_features * n_outputs;
        }
    }
}

// Count for each leaf the rows that reach it.
//
// splits (n_splits), roots (n_trees), rows (n_rows, n_columns), counts (n_leaves), to which is
// added.
EXPORT(count_leaves)
(const Split* splits, const int32_t* roots, const uint8_t* code_goes_left, const double* rows,
 int64_t* counts, int64_t n_trees, int64_t n_rows, int64_t n_columns, int64_t n_codes) {
    const Codes codes{code_goes_left, n_codes};
    for (int64_t tree = 0; tree < n_trees; tree++)
        for (int64_t row = 0; row < n_rows; row++)
            counts[reached_leaf(splits, codes, roots[tree], rows + row * n_columns)]++;
}

// Add up the leaves that rows reach, one of each tree.
//
// splits (n_splits), roots (n_trees), value (n_leaves, n_outputs), rows (n_rows, n_columns), sums
// (n_rows, n_outputs), to which is added.
EXPORT(leaf_sums)
(const Split* splits, const int32_t* roots, const double* value, const uint8_t* code_goes_left,
 const double* rows, double* sums, int64_t n_trees, int64_t n_rows, int64_t n_columns,
 int64_t n_outputs, int64_t n_codes) {
    const Codes codes{code_goes_left, n_codes};
    for (int64_t tree = 0; tree < n_trees; tree++) {
        for (int64_t row = 0; row < n_rows; row++) {
            const int32_t reached =
                reached_leaf(splits, codes, roots[tree], rows + row * n_columns);
            const double* leaf = value + int64_t(reached) * n_outputs;
            for (int64_t k = 0; k < n_outputs; k++) sums[row * n_outputs + k] += leaf[k];
        }
    }
}
