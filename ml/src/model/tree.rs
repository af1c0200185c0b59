//! A decision tree as a flat array of nodes.
//!
//! Invariant (`check`): a node's children come after it, so walking a tree ends.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// One node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Node {
    /// Sends a row left when its value in `column` is below `threshold`, and else right.
    Split {
        /// The design column.
        column: u32,
        /// The first value that goes right.
        threshold: f64,
        /// Position of the left child.
        left: u32,
        /// Position of the right child.
        right: u32,
    },
    /// Answers.
    Leaf {
        /// The answer: the share of label 1 among the training rows of the leaf.
        value: f64,
    },
}

/// A tree; the root is node 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tree {
    /// The nodes, parents before children.
    pub nodes: Vec<Node>,
}

impl Tree {
    /// The position of the leaf that a dense design row reaches.
    pub fn leaf(&self, dense: &[f64]) -> usize {
        let mut position = 0;
        while let Node::Split {
            column,
            threshold,
            left,
            right,
        } = &self.nodes[position]
        {
            let child = if dense[*column as usize] < *threshold {
                left
            } else {
                right
            };
            position = *child as usize;
        }
        position
    }

    /// The answer for a dense design row.
    pub fn predict(&self, dense: &[f64]) -> f64 {
        match &self.nodes[self.leaf(dense)] {
            Node::Leaf { value } => *value,
            Node::Split { .. } => unreachable!("a walk ends at a leaf"),
        }
    }

    /// Refuses a tree that could not be walked over a design of that many columns.
    pub fn check(&self, columns: usize) -> Result<()> {
        let broken = |reason: String| Err(Error::Artifact { what: "tree", reason });
        if self.nodes.is_empty() {
            return broken("it has no nodes".to_owned());
        }
        for (position, node) in self.nodes.iter().enumerate() {
            match node {
                Node::Leaf { value } if value.is_finite() => {}
                Node::Leaf { .. } => {
                    return Err(Error::NotFinite {
                        what: "the value of a leaf",
                    });
                }
                Node::Split {
                    column,
                    threshold,
                    left,
                    right,
                } => {
                    let follows =
                        |child: u32| (child as usize) > position && (child as usize) < self.nodes.len();
                    if !follows(*left) || !follows(*right) {
                        return broken(format!(
                            "children {left} and {right} of node {position} are out of order"
                        ));
                    }
                    if *column as usize >= columns || !threshold.is_finite() {
                        return broken(format!(
                            "node {position} splits column {column} of {columns} at {threshold}"
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}
