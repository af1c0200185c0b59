//! The search for an order.

use std::collections::HashSet;
use std::time::Instant;

use super::placed::Placed;
use super::timeline::{Entry, Timeline};
use super::{Exhausted, Model, Operation, Verdict, Violation};

/// Steps between two looks at the clock.
const STEPS_PER_LOOK: u64 = 1_024;

/// A search under way.
pub(super) struct Search<'a, M: Model> {
    model: &'a M,
    history: &'a [Operation<M::Call, M::Answer>],
    timeline: Timeline,
    /// What the object holds after the operations that have a place.
    state: M::State,
    placed: Placed,
    /// The operations that have a place, in order: where their calls were, and the state before each.
    order: Vec<(usize, M::State)>,
    /// What has been tried.
    tried: HashSet<(Placed, M::State)>,
    tried_max: usize,
    /// The longest order that met a return without a place, and the operation of that return.
    longest: Option<Violation>,
}

impl<'a, M: Model> Search<'a, M> {
    /// A search that remembers at most `tried_max` pairs of set and state.
    pub(super) fn new(model: &'a M, history: &'a [Operation<M::Call, M::Answer>], tried_max: usize) -> Self {
        Self {
            model,
            history,
            timeline: Timeline::of(history),
            state: model.initial(),
            placed: Placed::none_of(history.len()),
            order: Vec::new(),
            tried: HashSet::new(),
            tried_max,
            longest: None,
        }
    }

    /// Searches until there is an order, or none, or no more time.
    pub(super) fn run(mut self, deadline: Instant) -> Verdict {
        let mut at = self.timeline.first();
        let mut steps = 0_u64;
        while !self.timeline.is_explained() {
            if steps.is_multiple_of(STEPS_PER_LOOK) && Instant::now() >= deadline {
                return Verdict::Unknown(Exhausted::Time);
            }
            steps += 1;
            if self.tried.len() > self.tried_max {
                return Verdict::Unknown(Exhausted::States);
            }
            let place = at.expect("an answered operation is left, so its return is ahead");
            at = match self.timeline.entry(place) {
                Entry::Call(number) if self.place(place, number) => self.timeline.first(),
                Entry::Call(_) => self.timeline.after(place),
                Entry::Return(number) => {
                    self.remember(number);
                    match self.take_back() {
                        Some(place) => self.timeline.after(place),
                        None => return self.violation(number),
                    }
                }
            };
        }
        Verdict::Linearizable
    }

    /// Puts an operation next, if its answer fits and this has not been tried before.
    fn place(&mut self, place: usize, number: usize) -> bool {
        let operation = &self.history[number];
        let answer = operation.end.as_ref().map(|(answer, _)| answer);
        let Some(state) = self.model.step(&self.state, &operation.call, answer) else {
            return false;
        };
        if answer.is_none() && state == self.state {
            // It may just as well never take effect.
            return false;
        }
        self.placed.insert(number);
        if !self.tried.insert((self.placed.clone(), state.clone())) {
            self.placed.remove(number);
            return false;
        }
        let before = std::mem::replace(&mut self.state, state);
        self.order.push((place, before));
        self.timeline.lift(place, number);
        true
    }

    /// Takes the last operation out of the order again; gives where its call is.
    fn take_back(&mut self) -> Option<usize> {
        let (place, before) = self.order.pop()?;
        self.state = before;
        let number = self.operation_at(place);
        self.placed.remove(number);
        self.timeline.put_back(place, number);
        Some(place)
    }

    fn operation_at(&self, place: usize) -> usize {
        match self.timeline.entry(place) {
            Entry::Call(number) | Entry::Return(number) => number,
        }
    }

    fn remember(&mut self, stuck_at: usize) {
        let longest = self.longest.as_ref().map_or(0, |found| found.order.len());
        if self.longest.is_none() || self.order.len() > longest {
            let order = self.order.iter().map(|(place, _)| self.operation_at(*place));
            self.longest = Some(Violation {
                order: order.collect(),
                stuck_at,
            });
        }
    }

    fn violation(self, stuck_at: usize) -> Verdict {
        Verdict::Violation(self.longest.unwrap_or(Violation {
            order: Vec::new(),
            stuck_at,
        }))
    }
}
