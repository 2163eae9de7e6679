#ifndef EXAMPLE_CHECKSUM_H
#define EXAMPLE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* FNV-1a, 32 bits, of `length` bytes from `bytes` on. */
uint32_t example_checksum(const uint8_t *bytes, size_t length);

#endif
