//! Every fact the house tells the world: numbered by the store, in a stable serial form.
//! Names and fields are never changed, only added to: reports years old fold the same events.
