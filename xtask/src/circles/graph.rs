//! Circles among modules.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Modules by name, with the names of those that they import.
#[derive(Debug, Default)]
pub(super) struct Graph {
    imports: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    pub(super) fn import(&mut self, from: &str, to: &str) {
        if from != to {
            self.imports.entry(from.to_owned()).or_default().insert(to.to_owned());
        }
    }

    /// For each module that is in a circle the shortest way from it to itself, each circle once.
    pub(super) fn circles(&self) -> Vec<Vec<String>> {
        let mut seen = BTreeSet::new();
        let chains = self.imports.keys().filter_map(|start| self.way_back(start));
        chains.filter(|chain| seen.insert(chain.iter().cloned().collect::<BTreeSet<_>>())).collect()
    }

    fn way_back(&self, start: &str) -> Option<Vec<String>> {
        let mut before: BTreeMap<&str, &str> = BTreeMap::new();
        let mut waiting = VecDeque::from([start]);
        while let Some(module) = waiting.pop_front() {
            for next in self.imports.get(module).into_iter().flatten() {
                if next == start {
                    let mut chain = vec![start.to_owned(), module.to_owned()];
                    let mut here = module;
                    while here != start {
                        here = before.get(here).copied().unwrap_or(start);
                        chain.push(here.to_owned());
                    }
                    chain.dedup();
                    chain.reverse();
                    return Some(chain);
                }
                if !before.contains_key(next.as_str()) {
                    before.insert(next, module);
                    waiting.push_back(next);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_is_shown_once_and_by_its_shortest_way() {
        let mut graph = Graph::default();
        for (from, to) in [("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("d", "d"), ("a", "e"), ("e", "f")]
        {
            graph.import(from, to);
        }
        assert_eq!(graph.circles(), [["a", "b", "c", "a"]]);
    }
}
