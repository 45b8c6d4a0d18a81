//! The latest of a value that one task sets and one other waits for.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// What tokio's watch channel is for one receiver, in a quarter of its memory: there are several for each live run.
#[derive(Debug, Default)]
pub struct Latest<T> {
    value: Mutex<T>,
    changed: Notify,
}

impl<T: Clone> Latest<T> {
    /// Sets the value, and wakes who waits if it is another. Only one task may set.
    pub fn update(&self, value: T)
    where
        T: PartialEq,
    {
        if *self.lock() != value {
            self.set(value);
        }
    }

    /// Sets the value and wakes who waits.
    pub fn set(&self, value: T) {
        *self.lock() = value;
        self.changed.notify_one();
    }

    /// The value.
    pub fn get(&self) -> T {
        self.lock().clone()
    }

    /// Waits for a change, or for [`Latest::mark_changed`], since this returned last. Only one task may wait. Whoever
    /// gives up waiting misses nothing.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Lets the next [`Latest::changed`] return at once.
    pub fn mark_changed(&self) {
        self.changed.notify_one();
    }

    // Values are replaced as a whole: a panic in between leaves the old one.
    fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn a_change_before_the_wait_is_not_missed_and_told_once() {
        let latest = Latest::<u32>::default();
        assert!(latest.changed().now_or_never().is_none());
        latest.set(1);
        latest.set(2);
        assert!(latest.changed().now_or_never().is_some());
        assert_eq!(latest.get(), 2);
        assert!(latest.changed().now_or_never().is_none());
    }

    #[test]
    fn what_is_set_to_the_same_wakes_nobody() {
        let latest = Latest::<u32>::default();
        let set = |value| {
            latest.update(value);
            latest.changed().now_or_never().is_some()
        };
        assert_eq!([set(0), set(7), set(7), set(0)], [false, true, false, true]);
    }

    #[test]
    fn a_wait_that_is_given_up_leaves_the_change_to_the_next() {
        let latest = Latest::<u32>::default();
        let mut given_up = Box::pin(latest.changed());
        assert!(given_up.as_mut().now_or_never().is_none());
        latest.set(1);
        drop(given_up);
        assert!(latest.changed().now_or_never().is_some());
    }
}
