/* SPDX-License-Identifier: MIT
 *
 * Blocks of memory, on the heap or mapped; see block.h. The caller passes the size of a block that
 * it frees, so no header is kept in front of it. */
#define _GNU_SOURCE 1 /* mremap, and what -std=c11 hides; where this file is compiled alone */
#include "block.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* AddressSanitizer checks the ends of malloc's blocks, not those of mappings. */
#ifndef BLOCK_MAPS
#if defined(__SANITIZE_ADDRESS__)
#define BLOCK_MAPS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BLOCK_MAPS 0
#endif
#endif
#endif
#ifndef BLOCK_MAPS
#define BLOCK_MAPS 1
#endif
#if !BLOCK_MAPS
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, size)   ((void)(p), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(p, size) ((void)(p), (void)(size))
#endif

static bool is_mapped(size_t size)
{
    return BLOCK_MAPS && size >= BLOCK_PAGED;
}

static size_t round_up(size_t size, size_t unit)
{
    return size > SIZE_MAX - (unit - 1) ? SIZE_MAX : (size + unit - 1) / unit * unit;
}

size_t block_size(size_t size)
{
    return size >= BLOCK_PAGED ? round_up(size, BLOCK_PAGE) : round_up(size + BLOCK_WORD, 16);
}

/* The bytes that a block really has: whole pages also where it is not mapped, for it may be reused
 * for any size of as many pages. */
static size_t room(size_t size)
{
    return size >= BLOCK_PAGED ? block_size(size) : size;
}

static void *map(size_t size)
{
    void *p = mmap(NULL, room(size), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

/* munmap() fails where it would cut a mapping in two and the kernel allows no more of them (sysctl
 * vm.max_map_count); then at least the pages go back. */
static void unmap(void *p, size_t size)
{
    if (munmap(p, room(size)) != 0)
        madvise(p, room(size), MADV_DONTNEED);
}

void *block_new(size_t size)
{
    return is_mapped(size) ? map(size) : malloc(room(size));
}

/* From the heap into a mapping, or back. */
static void *move_block(void *p, size_t size, size_t new_size)
{
    void *to = block_new(new_size);

    if (to == NULL)
        return NULL;
    memcpy(to, p, size < new_size ? size : new_size);
    block_free(p, size);
    return to;
}

void *block_resize(void *p, size_t size, size_t new_size)
{
    void *to;

    if (is_mapped(size) != is_mapped(new_size))
        return move_block(p, size, new_size);
    if (!is_mapped(size))
        return realloc(p, room(new_size));
    if (room(size) == room(new_size))
        return p;
    to = mremap(p, room(size), room(new_size), MREMAP_MAYMOVE);
    return to == MAP_FAILED ? NULL : to;
}

void block_free(void *p, size_t size)
{
    if (p != NULL && is_mapped(size))
        unmap(p, size);
    else
        free(p);
}

void block_hide(void *p, size_t size)
{
    ASAN_POISON_MEMORY_REGION(p, size);
}

void block_show(void *p, size_t size)
{
    ASAN_UNPOISON_MEMORY_REGION(p, size);
}
