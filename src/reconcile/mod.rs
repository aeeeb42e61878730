//! The pure core: scope, mapping, correlate, diff, guard, render. Values in, values out.
