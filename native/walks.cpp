// Exact Shapley values of sums of decision trees for each background row, by following the paths
// that hybrid rows can take; see service/shapley/trees/traversal.py.
#include <vector>

#include "splits.h"

namespace {

struct Trees {
    const Split* splits;
    const int32_t* owner;           // the feature of each column
    const double *value, *weights;  // (n_leaves, n_outputs), (n_weights, n_weights)
    Codes codes;
    int64_t n_weights;
};

// Where a feature is taken from, once rows have parted on it.
enum Side : uint8_t { EITHER, INSIDE, OUTSIDE };

// A split where rows parted: the way of the background row waits until that of the explained row
// is done.
struct Parting {
    int32_t feature, other;
    int inside, outside;
    bool is_second;
};

// What a walk needs besides the trees; all features are on EITHER side between two walks.
struct Room {
    std::vector<Side> side;          // of each feature
    std::vector<Parting> partings;   // on the way to where the walk is
    std::vector<double> first;       // what the first way of each gained and lost
    std::vector<double> sums;        // what the last subtree gained and lost
};

// Walk through one tree with one background row, and add to what features get. The partings are
// kept in a list, since a path may test as many features as there are.
template <int FIXED>
void walk(const Trees& trees, int32_t node, const double* row, const double* other, Room& room,
          double* values, int n_any) {
    const int n_outputs = FIXED ? FIXED : n_any;
    double* sums = room.sums.data();
    int inside = 0, outside = 0, depth = 0;
    while (true) {
        while (node >= 0) {
            const Split& split = trees.splits[node];
            const bool row_left = goes_left(split, trees.codes, row[split.column]);
            const bool other_left = goes_left(split, trees.codes, other[split.column]);
            const int32_t feature = trees.owner[split.column];
            const Side side = room.side[feature];
            const bool left = side == OUTSIDE ? other_left : row_left;
            if (side == EITHER && row_left != other_left) {
                room.side[feature] = INSIDE;
                room.partings[depth++] = {feature, other_left ? split.left : split.right, inside,
                                          outside, false};
                inside++;
            }
            node = left ? split.left : split.right;
        }
        const double* leaf = trees.value + int64_t(-1 - node) * n_outputs;
        const double gain = trees.weights[inside * trees.n_weights + outside];
        const double loss = trees.weights[outside * trees.n_weights + inside];
        for (int k = 0; k < n_outputs; k++) {
            sums[k] = leaf[k] * gain;
            sums[n_outputs + k] = leaf[k] * loss;
        }
        while (depth && room.partings[depth - 1].is_second) {
            const Parting& parting = room.partings[--depth];
            const double* first = room.first.data() + int64_t(depth) * 2 * n_outputs;
            double* given = values + int64_t(parting.feature) * n_outputs;
            for (int k = 0; k < n_outputs; k++) given[k] -= sums[n_outputs + k];
            for (int k = 0; k < 2 * n_outputs; k++) sums[k] += first[k];
            room.side[parting.feature] = EITHER;
        }
        if (depth == 0) return;
        Parting& parting = room.partings[depth - 1];
        double* first = room.first.data() + int64_t(depth - 1) * 2 * n_outputs;
        double* given = values + int64_t(parting.feature) * n_outputs;
        for (int k = 0; k < n_outputs; k++) given[k] += sums[k];
        for (int k = 0; k < 2 * n_outputs; k++) first[k] = sums[k];
        room.side[parting.feature] = OUTSIDE;
        parting.is_second = true;
        inside = parting.inside;
        outside = parting.outside + 1;
        node = parting.other;
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
 double* values, int64_t n_trees, int64_t n_rows, int64_t n_columns, int64_t n_features,
 int64_t n_outputs, int64_t n_weights, int64_t n_codes) {
    const Trees trees{splits, owner, value, weights, {code_goes_left, n_codes}, n_weights};
    Room room{std::vector<Side>(n_features, EITHER), std::vector<Parting>(n_weights),
              std::vector<double>(n_weights * 2 * n_outputs),
              std::vector<double>(2 * n_outputs)};
    const auto one_walk = n_outputs == 1 ? walk<1> : n_outputs == 2 ? walk<2> : walk<0>;
    // A tree stays in the processor's cache while all rows walk through it.
    for (int64_t tree = 0; tree < n_trees; tree++)
        for (int64_t other = 0; other < n_rows; other++)
            one_walk(trees, roots[tree], row, rows + other * n_columns, room,
                     values + other * n_features * n_outputs, int(n_outputs));
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
            int32_t node = roots[tree];
            while (node >= 0) {
                const Split& split = splits[node];
                const bool left = goes_left(split, codes, rows[row * n_columns + split.column]);
                node = left ? split.left : split.right;
            }
            const double* leaf = value + int64_t(-1 - node) * n_outputs;
            for (int64_t k = 0; k < n_outputs; k++) sums[row * n_outputs + k] += leaf[k];
        }
    }
}
