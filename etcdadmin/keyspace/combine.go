package keyspace

import "hash/crc32"

// combiner gives the CRC-32 of two things one after another from those of each, which is
// what zlib's crc32_combine does: a CRC is a polynomial over bits, reduced by another one,
// and what follows moves it up by so many bits. The last lengths are remembered, for
// those of values repeat.
type combiner struct {
	// powers[k] is x to the power of 2^k.
	powers [3 + 32]uint32
	moves  [256]struct{ size, by uint32 }
}

func newCombiner() *combiner {
	c := &combiner{}
	c.powers[0] = 1 << 30 // x; the highest bit is x to the power of 0
	for k := range c.powers[1:] {
		c.powers[k+1] = times(c.powers[k], c.powers[k])
	}
	return c
}

// add gives the sum of what has the first one, and behind it size bytes that have the other.
func (c *combiner) add(first, second, size uint32) uint32 {
	last := &c.moves[size%uint32(len(c.moves))]
	if last.size != size {
		last.size, last.by = size, 1<<31
		for k, left := 3, size; left > 0; k, left = k+1, left>>1 { // eight bits a byte
			if left&1 != 0 {
				last.by = times(last.by, c.powers[k])
			}
		}
	}
	if size == 0 {
		return first
	}
	return times(first, last.by) ^ second
}

// times multiplies two polynomials and reduces the product.
func times(a, b uint32) (product uint32) {
	for bit := uint32(1) << 31; ; bit >>= 1 {
		if a&bit != 0 {
			product ^= b
			if a&(bit-1) == 0 {
				return product
			}
		} else if a == 0 {
			return product
		}
		if b&1 != 0 {
			b = b>>1 ^ crc32.Castagnoli
		} else {
			b >>= 1
		}
	}
}
