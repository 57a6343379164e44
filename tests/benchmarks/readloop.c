/* The floor under reading per-ID shards: open, readv, close, and nothing else. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stddef.h>
#include <sys/uio.h>
#include <unistd.h>

/* Read `count` files below the folder `root` one after the other: `header` bytes that are thrown away, then `row` bytes
   into the next row of `batch`, which begins anew after `rows` rows. Return the number of files that were as long as that. */
long read_loop(int root, const char *const *paths, long count, char *batch, long rows, size_t header, size_t row)
{
    char thrown_away[4096];
    long sound = 0;
    if (header > sizeof thrown_away)
        return -1;
    for (long i = 0; i < count; i++) {
        struct iovec parts[2] = {{thrown_away, header}, {batch + (size_t)(i % rows) * row, row}};
        int file = openat(root, paths[i], O_RDONLY | O_CLOEXEC);
        if (file < 0)
            continue;
        sound += readv(file, parts, 2) == (ssize_t)(header + row);
        close(file);
    }
    return sound;
}
