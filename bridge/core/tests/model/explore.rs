//! Breadth-first search through all states of a protocol, so that the way to what it finds is a shortest one.

use std::{collections::HashMap, fmt, hash::Hash};

/// Something with states, steps between them, and promises about them.
pub(crate) trait Protocol {
    /// All that can differ.
    type State: Clone + Eq + Hash + fmt::Debug;
    /// What can happen.
    type Action: fmt::Debug;

    /// Where it begins.
    fn start(&self) -> Self::State;

    /// What can happen next.
    fn actions(&self, state: &Self::State) -> Vec<Self::Action>;

    /// What it leads to.
    fn apply(&self, state: &Self::State, action: &Self::Action) -> Self::State;

    /// Which promise is broken here, if one is.
    fn broken(&self, state: &Self::State) -> Option<String>;

    /// Whether nothing is left to be done.
    fn is_settled(&self, state: &Self::State) -> bool;
}

/// How much was looked at.
#[derive(Debug)]
pub(crate) struct Explored {
    pub(crate) states: usize,
    pub(crate) settled: usize,
}

/// A way to a broken promise.
pub(crate) struct Counterexample {
    promise: String,
    way: Vec<String>,
    state: String,
}

impl fmt::Debug for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, after:", self.promise)?;
        for (number, step) in self.way.iter().enumerate() {
            writeln!(f, "{:>4}. {step}", number + 1)?;
        }
        write!(f, "{}", self.state)
    }
}

impl Counterexample {
    /// The promise that was broken.
    pub(crate) fn promise(&self) -> &str {
        &self.promise
    }
}

/// Looks at every state that can be reached: no promise may be broken, and each must be able to settle.
pub(crate) fn explore<P: Protocol>(protocol: &P) -> Result<Explored, Counterexample> {
    let mut graph = Graph { states: Vec::new(), numbers: HashMap::new(), from: Vec::new() };
    graph.number(protocol.start(), None);
    let mut next = 0;
    while let Some(state) = graph.states.get(next).cloned() {
        if let Some(promise) = protocol.broken(&state) {
            return Err(graph.way(protocol, next, promise));
        }
        for action in protocol.actions(&state) {
            graph.number(protocol.apply(&state, &action), Some(next));
        }
        next += 1;
    }
    let settled: Vec<usize> =
        (0..graph.states.len()).filter(|&number| protocol.is_settled(&graph.states[number])).collect();
    if let Some(stuck) = graph.cannot_reach(&settled) {
        return Err(graph.way(protocol, stuck, "this can never settle".to_owned()));
    }
    Ok(Explored { states: graph.states.len(), settled: settled.len() })
}

struct Graph<S> {
    states: Vec<S>,
    numbers: HashMap<S, usize>,
    /// From which states each can be reached, that by which it was first reached before all others.
    from: Vec<Vec<usize>>,
}

impl<S: Clone + Eq + Hash + fmt::Debug> Graph<S> {
    fn number(&mut self, state: S, from: Option<usize>) {
        let number = *self.numbers.entry(state).or_insert_with_key(|state| {
            self.states.push(state.clone());
            self.from.push(Vec::new());
            self.states.len() - 1
        });
        self.from[number].extend(from);
    }

    /// The first state from which none of these can be reached.
    fn cannot_reach(&self, goals: &[usize]) -> Option<usize> {
        let mut can = vec![false; self.states.len()];
        let mut open = goals.to_vec();
        while let Some(number) = open.pop() {
            if !std::mem::replace(&mut can[number], true) {
                open.extend(self.from[number].iter().copied());
            }
        }
        can.iter().position(|can| !can)
    }

    fn way<P: Protocol<State = S>>(&self, protocol: &P, to: usize, promise: String) -> Counterexample {
        let mut way = Vec::new();
        let mut number = to;
        while let Some(&before) = self.from[number].first() {
            let state = &self.states[before];
            let led_here = |action: &P::Action| protocol.apply(state, action) == self.states[number];
            let action = protocol.actions(state).into_iter().find(led_here);
            way.push(action.map_or_else(String::new, |action| format!("{action:?}")));
            number = before;
        }
        way.reverse();
        Counterexample { promise, way, state: format!("{:#?}", self.states[to]) }
    }
}
