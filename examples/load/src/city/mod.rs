//! The books and readers, and the state of each as far as the generator knows it.

mod generate;
