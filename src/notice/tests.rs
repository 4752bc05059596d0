//! Claims about whole notices: their header fields, what they say, and what a hostile record cannot do.
