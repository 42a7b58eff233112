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

// A node that waits, with the rows that reach it, until another subtree is done.
struct Waiting {
    int node;
    uint64_t reached[AT_ONCE];
};

// Send rows from a root to its leaves: to the left first, and what goes right waits, one node a
// level at most. It is no recursion, since a tree may be as deep as it has leaves.
void descend(const Trees& trees, int node, int64_t first_word, int count, Waiting* waiting,
             double* sums) {
    uint64_t reached[AT_ONCE];
    for (int word = 0; word < count; word++) reached[word] = ~uint64_t(0);
    int n_waiting = 0;
    while (true) {
        bool has_left = false, has_right = false;
        if (node < 0) {
            add_leaf(trees, -1 - node, reached, count, sums);
        } else {
            const uint64_t* background = trees.at_background + node * trees.n_words + first_word;
            const uint64_t* inside =
                trees.inside + trees.feature[node] * trees.n_words + first_word;
            const uint64_t at_row = trees.row_goes_left[node] ? ~uint64_t(0) : 0;
            uint64_t* to_the_right = waiting[n_waiting].reached;
            for (int word = 0; word < count; word++) {
                const uint64_t left = (inside[word] & at_row) | (~inside[word] & background[word]);
                to_the_right[word] = reached[word] & ~left;
                reached[word] &= left;
                has_left |= reached[word] != 0;
                has_right |= to_the_right[word] != 0;
            }
            if (has_right) waiting[n_waiting++].node = trees.right[node];
        }
        if (has_left) {
            node = trees.left[node];
            continue;
        }
        if (n_waiting == 0) return;
        node = waiting[--n_waiting].node;
        for (int word = 0; word < count; word++) reached[word] = waiting[n_waiting].reached[word];
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
    std::vector<Waiting> waiting(n_levels + 1);
    for (int64_t word = 0; word < n_words; word += AT_ONCE) {
        const int count = int(n_words - word < AT_ONCE ? n_words - word : AT_ONCE);
        for (int64_t tree = 0; tree < n_trees; tree++)
            descend(trees, roots[tree], word, count, waiting.data(), sums + word * 64 * n_outputs);
    }
}
