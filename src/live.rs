//! The only hot swap: a value that is read on every request and replaced while requests run.
//!
//! Inside: load, publish, generation. Kept out: what is published and when, and freeing the old value,
//! which the publisher does off the workers with what [`Live::publish`] hands back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[expect(clippy::disallowed_types, reason = "this is the one place that wraps it")]
type Swap<T> = arc_swap::ArcSwap<Published<T>>;

/// A value with the generation under which it was published.
#[derive(Debug)]
pub struct Published<T> {
    /// Grows by one at each publication, from 1.
    pub generation: u64,
    /// The value.
    pub value: Arc<T>,
}

/// A value that is replaced as a whole while it is read.
#[derive(Debug)]
pub struct Live<T> {
    current: Swap<T>,
    generation: AtomicU64,
}

impl<T> Live<T> {
    /// Publishes the first value, as generation 1.
    pub fn new(value: impl Into<Arc<T>>) -> Self {
        let first = Published { generation: 1, value: value.into() };
        Self { current: Swap::new(Arc::new(first)), generation: AtomicU64::new(1) }
    }

    /// The value in force. The guard is for one synchronous step: it must not be held across an await,
    /// since a thread has few of them and a held one keeps the old value alive.
    pub fn load(&self) -> arc_swap::Guard<Arc<Published<T>>> {
        self.current.load()
    }

    /// The value in force, to keep. For the control thread: it contends on the reference count.
    pub fn load_full(&self) -> Arc<Published<T>> {
        self.current.load_full()
    }

    /// The generation in force. It never runs ahead of what [`Live::load`] returns.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Replaces the value and returns the one that it replaced, which the caller lets go of where
    /// freeing it disturbs nobody. There is one publisher at a time; it owns the order of generations.
    pub fn publish(&self, value: impl Into<Arc<T>>) -> Arc<Published<T>> {
        let generation = self.generation() + 1;
        let old = self.current.swap(Arc::new(Published { generation, value: value.into() }));
        self.generation.store(generation, Ordering::Release);
        old
    }

    /// As [`Live::publish`], for a value that says the same in another form: the generation stays.
    pub fn renew(&self, value: impl Into<Arc<T>>) -> Arc<Published<T>> {
        self.current.swap(Arc::new(Published { generation: self.generation(), value: value.into() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publish_replaces_the_value_and_counts() {
        let live: Live<String> = Live::new("first".to_owned());
        let held = live.load_full();
        let old = live.publish("second".to_owned());
        assert_eq!((held.value.as_str(), old.generation), ("first", 1));
        assert_eq!((live.load().value.as_str(), live.load().generation, live.generation()), ("second", 2, 2));
        let old = live.renew("second, in another form".to_owned());
        assert_eq!((old.value.as_str(), old.generation), ("second", 2));
        assert_eq!((live.load().value.as_str(), live.load().generation), ("second, in another form", 2));
    }
}
