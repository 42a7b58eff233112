// Sums of decision trees for many hybrid rows at once, 64 to a word; see
// service/shapley/trees/linked.py.
#include <vector>

#include "vectors.h"

namespace {

constexpr int AT_ONCE = 32;  // words that go down a tree together

struct Trees {
    const int32_t *feature, *left, *right;  // of each split; a child below 0 is leaf -1 - child
    const double* value;                    // (n_leaves, n_outputs)
    const uint8_t* row_goes_left;           // (n_splits)
    const uint64_t *at_background, *inside;  // (n_splits, n_words), (n_features, n_words)
    int64_t n_words;
    int n_outputs;
};

// Add a leaf's value to the sums of the rows that reach it.
INLINE void add_leaf(const Trees& trees, int leaf, const uint64_t* reached, int count,
                     double* sums) {
    for (int output = 0; output < trees.n_outputs; output++) {
        const double value = trees.value[int64_t(leaf) * trees.n_outputs + output];
        if (value == 0) continue;
        for (int word = 0; word < count; word++) {
            double* of_word = sums + int64_t(word) * 64 * trees.n_outputs + output;
            if (reached[word] == ~uint64_t(0)) {
                for (int row = 0; row < 64; row++) of_word[row * trees.n_outputs] += value;
                continue;
            }
            for (uint64_t left = reached[word]; left; left &= left - 1)
                of_word[__builtin_ctzll(left) * trees.n_outputs] += value;
        }
    }
}

// Send the rows that reach a node to its leaves. `reached` has a place of AT_ONCE words for each
// level below it.
void descend(const Trees& trees, int node, int64_t first_word, int count, uint64_t* reached,
             double* sums) {
    if (node < 0) {
        add_leaf(trees, -1 - node, reached, count, sums);
        return;
    }
    const uint64_t* background = trees.at_background + node * trees.n_words + first_word;
    const uint64_t* inside = trees.inside + trees.feature[node] * trees.n_words + first_word;
    const uint64_t at_row = trees.row_goes_left[node] ? ~uint64_t(0) : 0;
    uint64_t goes_left[AT_ONCE];
    uint64_t any_left = 0, any_right = 0;
    for (int word = 0; word < count; word++) {
        const uint64_t left = (inside[word] & at_row) | (~inside[word] & background[word]);
        goes_left[word] = reached[word] & left;
        any_left |= goes_left[word];
        any_right |= reached[word] & ~left;
    }
    uint64_t* below = reached + AT_ONCE;
    if (any_left) {
        for (int word = 0; word < count; word++) below[word] = goes_left[word];
        descend(trees, trees.left[node], first_word, count, below, sums);
    }
    if (any_right) {
        for (int word = 0; word < count; word++) below[word] = reached[word] & ~goes_left[word];
        descend(trees, trees.right[node], first_word, count, below, sums);
    }
}

}  // namespace

// Add up the leaves that hybrid rows reach, one of each tree.
//
// feature, left, right, row_goes_left (n_splits), roots (n_trees), value (n_leaves, n_outputs),
// at_background (n_splits, n_words), inside (n_features, n_words), sums (64 n_words, n_outputs), to
// which is added. A root or child below 0 is leaf -1 - child.
EXPORT(hybrid_leaf_sums)
(const int32_t* feature, const int32_t* left, const int32_t* right, const int32_t* roots,
 const double* value, const uint8_t* row_goes_left, const uint64_t* at_background,
 const uint64_t* inside, double* sums, int64_t n_trees, int64_t n_words, int64_t n_outputs,
 int64_t n_levels) {
    const Trees trees{feature,       left,   right,   value,         row_goes_left,
                      at_background, inside, n_words, int(n_outputs)};
    std::vector<uint64_t> reached(size_t(n_levels + 1) * AT_ONCE);
    for (int64_t word = 0; word < n_words; word += AT_ONCE) {
        const int count = int(n_words - word < AT_ONCE ? n_words - word : AT_ONCE);
        for (int64_t tree = 0; tree < n_trees; tree++) {
            for (int i = 0; i < count; i++) reached[i] = ~uint64_t(0);
            descend(trees, roots[tree], word, count, reached.data(), sums + word * 64 * n_outputs);
        }
    }
}
