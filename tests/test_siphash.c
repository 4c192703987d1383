/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "exact.h"
#include "siphash.h"

static uint64_t hash(const uint8_t key[SIPHASH_KEY_SIZE], const void *data, size_t len)
{
    void *copy = exact_copy(data, len);
    uint64_t h = siphash(key, copy, len);

    free(copy);
    return h;
}

/* The key 00 01 .. 0f and the data 00 01 .. of each length: the vectors that Rust's library has for
 * SipHash-1-3, too. */
static void vectors_of_all_lengths_are_met(void **state)
{
    static const uint64_t expected[] = {
        0xabac0158050fc4dc, 0xc9f49bf37d57ca93, 0x82cb9b024dc7d44d, 0x8bf80ab8e7ddf7fb,
        0xcf75576088d38328, 0xdef9d52f49533b67, 0xc50d2b50c59f22a7, 0xd3927d989bb11140,
        0x369095118d299a8e, 0x25a48eb36c063de4, 0x79de85ee92ff097f, 0x70c118c1f94dc352,
        0x78a384b157b4d9a2, 0x306f760c1229ffa7, 0x605aa111c0f95d34, 0xd320d86d2a519956,
        0xcc4fdd1a7d908b66, 0x9cf2689063dbd80c,
    };
    uint8_t bytes[sizeof expected / sizeof expected[0]];

    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)i;
    for (size_t len = 0; len < sizeof bytes; len++)
        assert_int_equal(hash(bytes, bytes, len), expected[len]);
}

/* Python hashes bytes so, from 3.11 on; its key is zero with PYTHONHASHSEED=0. */
static void another_implementation_agrees(void **state)
{
    static const uint8_t zero[SIPHASH_KEY_SIZE];

    (void)state;
    assert_int_equal(hash(zero, "a", 1), 0x407448d2b89b1813);
    assert_int_equal(hash(zero, "room", 4), 0xf9d3fff8c23da278);
    assert_int_equal(hash(zero, "a longer name of 25 bytes", 25), 0x6b6cc8f5e7c3d165);
}

static void every_bit_of_the_key_counts(void **state)
{
    uint8_t key[SIPHASH_KEY_SIZE] = {0};
    uint64_t before = hash(key, "name", 4);

    (void)state;
    for (int bit = 0; bit < 8 * SIPHASH_KEY_SIZE; bit++) {
        key[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(hash(key, "name", 4), before);
        key[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

#include "tests/test_siphash.list"

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
