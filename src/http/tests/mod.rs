//! What the toolbox does as a whole: exchanges over real sockets, TLS among them, and budgets under simulated limits in simulated time.

mod exchange;
mod limits;
mod raw;
mod tls;
