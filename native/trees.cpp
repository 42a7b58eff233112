// Sums of decision trees for many hybrid rows at once, 64 to a word; see
// service/shapley/trees/linked.py.
#include <vector>

#include "vectors.h"

namespace {

constexpr int AT_ONCE = 8;  // words that go down a tree together
constexpr int FEW = 6;      // rows of a word that are quicker met one by one

struct Trees {
    const int32_t *feature, *left, *right;  // of each split; a child below 0 is leaf -1 - child
    const double* value;                    // (n_leaves, n_outputs)
    const uint8_t* row_goes_left;           // (n_splits)
    const uint64_t *at_background, *inside;  // (n_splits, n_words), (n_features, n_words)
    int64_t n_words, n_outputs;
};

// Add a value to the sums of those of 64 rows that a word names.
INLINE void add_where(uint64_t rows, double value, double* sums) {
    if (__builtin_popcountll(rows) <= FEW) {
        for (; rows; rows &= rows - 1) sums[__builtin_ctzll(rows)] += value;
        return;
    }
    Longs lanes;
    for (int lane = 0; lane < WIDTH; lane++) lanes[lane] = int64_t(1) << lane;
    for (int row = 0; row < 64; row += WIDTH) {
        const Longs named = (Longs{} + int64_t(rows >> row)) & lanes;
        const Doubles added = named != 0 ? Doubles{} + value : Doubles{};
        store(sums + row, load<Doubles>(sums + row) + added);
    }
}

// Add a leaf's value to the sums of the rows that reach it.
INLINE void add_leaf(const Trees& trees, int leaf, const uint64_t* reached, int count,
                     double* sums) {
    for (int64_t output = 0; output < trees.n_outputs; output++) {
        const double value = trees.value[leaf * trees.n_outputs + output];
        if (value == 0) continue;
        for (int word = 0; word < count; word++)
            add_where(reached[word], value, sums + (output * trees.n_words + word) * 64);
    }
}

// A node that waits, with the rows that reach it, until another subtree is done.
struct Waiting {
    int node;
    uint64_t reached[AT_ONCE];
};

// Send rows from a root to its leaves: to the left first, and what goes right waits, one node a
// level at most. It is no recursion, since a tree may be as deep as it has leaves.
template <int COUNT>
void descend(const Trees& trees, int node, int64_t first_word, Waiting* waiting, double* sums) {
    uint64_t reached[COUNT];
    for (int word = 0; word < COUNT; word++) reached[word] = ~uint64_t(0);
    int n_waiting = 0;
    while (true) {
        uint64_t any_left = 0, any_right = 0;
        if (node < 0) {
            add_leaf(trees, -1 - node, reached, COUNT, sums);
        } else {
            const uint64_t* background = trees.at_background + node * trees.n_words + first_word;
            const uint64_t* inside =
                trees.inside + trees.feature[node] * trees.n_words + first_word;
            const uint64_t at_row = trees.row_goes_left[node] ? ~uint64_t(0) : 0;
            uint64_t* to_the_right = waiting[n_waiting].reached;
            for (int word = 0; word < COUNT; word++) {
                const uint64_t left = (inside[word] & at_row) | (~inside[word] & background[word]);
                to_the_right[word] = reached[word] & ~left;
                reached[word] &= left;
                any_left |= reached[word];
                any_right |= to_the_right[word];
            }
            if (any_right) waiting[n_waiting++].node = trees.right[node];
        }
        if (any_left) {
            node = trees.left[node];
            continue;
        }
        if (n_waiting == 0) return;
        node = waiting[--n_waiting].node;
        for (int word = 0; word < COUNT; word++) reached[word] = waiting[n_waiting].reached[word];
    }
}

}  // namespace

// Add up the leaves that hybrid rows reach, one of each tree.
//
// feature, left, right, row_goes_left (n_splits), roots (n_trees), value (n_leaves, n_outputs),
// at_background (n_splits, n_words), inside (n_features, n_words), sums (n_outputs, 64 n_words), to
// which is added. A root or child below 0 is leaf -1 - child.
EXPORT(hybrid_leaf_sums)
(const int32_t* feature, const int32_t* left, const int32_t* right, const int32_t* roots,
 const double* value, const uint8_t* row_goes_left, const uint64_t* at_background,
 const uint64_t* inside, double* sums, int64_t n_trees, int64_t n_words, int64_t n_outputs,
 int64_t n_levels) {
    const Trees trees{feature,       left,   right,   value,    row_goes_left,
                      at_background, inside, n_words, n_outputs};
    std::vector<Waiting> waiting(n_levels + 1);
    int64_t word = 0;
    for (; word + AT_ONCE <= n_words; word += AT_ONCE)
        for (int64_t tree = 0; tree < n_trees; tree++)
            descend<AT_ONCE>(trees, roots[tree], word, waiting.data(), sums + word * 64);
    for (; word < n_words; word++)
        for (int64_t tree = 0; tree < n_trees; tree++)
            descend<1>(trees, roots[tree], word, waiting.data(), sums + word * 64);
}
