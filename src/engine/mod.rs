//! One run: fetch, diff, guard, apply; and the retry of single subjects. Knows contracts, no connector and no store.
