use super::*;

const POLICY: Policy = Policy::of_lease(Duration::from_secs(10));

#[test]
fn every_choice_has_its_word() {
    for choice in WhenFull::ALL {
        assert_eq!(WhenFull::from_word(choice.as_str()), Some(choice));
    }
    assert_eq!(WhenFull::from_word("evict"), None);
}

#[test]
fn fields_out_of_range_are_refused() {
    let seconds = Duration::from_secs;
    assert_eq!(POLICY.check(), Ok(POLICY));
    for legal in [
        Policy { max_lease: Some(seconds(10)), ..POLICY },
        Policy { min_hold: seconds(10), ..POLICY },
        Policy { max_lease: Some(LONGEST_LEASE), ..POLICY },
        Policy::of_lease(SHORTEST_LEASE),
        Policy { max_per_user: Some(LARGEST_PER_USER), ..POLICY },
    ] {
        assert_eq!(legal.check(), Ok(legal));
    }
    for (illegal, field) in [
        (Policy::of_lease(Duration::from_micros(999)), "lease"),
        (Policy::of_lease(Duration::MAX), "lease"),
        (Policy { max_lease: Some(seconds(9)), ..POLICY }, "max_lease"),
        (Policy { max_lease: Some(LONGEST_LEASE + seconds(1)), ..POLICY }, "max_lease"),
        (Policy { min_hold: seconds(11), ..POLICY }, "min_hold"),
        (Policy { max_per_user: Some(0), ..POLICY }, "max_per_user"),
        (Policy { max_per_user: Some(LARGEST_PER_USER + 1), ..POLICY }, "max_per_user"),
    ] {
        assert_eq!(illegal.check().map_err(|error| error.field), Err(field));
    }
}

#[test]
fn durations_are_cut_to_whole_microseconds() {
    let odd = Policy::of_lease(Duration::from_nanos(10_000_000_999));
    assert_eq!(odd.check(), Ok(POLICY));
}

#[test]
fn every_field_is_read_as_it_is_shown() {
    assert_eq!(Policy::EXAMPLE.check(), Ok(Policy::EXAMPLE));
    for policy in [Policy::EXAMPLE, Policy::DEFAULT, Policy::OTHER] {
        let mut patch = PolicyPatch::default();
        for field in Policy::FIELDS {
            field.read(&field.show(&policy), &mut patch).unwrap();
            assert!(field.read("?", &mut patch).is_err(), "{}", field.name);
            let example = field.show(&Policy::EXAMPLE);
            assert_ne!(example, field.show(&Policy::DEFAULT), "{}", field.name);
        }
        assert_eq!(patch, PolicyPatch::from(policy));
        assert_eq!(patch.apply(POLICY), policy);
    }
    assert_eq!(PolicyPatch::default().apply(Policy::EXAMPLE), Policy::EXAMPLE);
}
