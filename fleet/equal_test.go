package fleet

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEqualSeesEveryField changes each field of a spec, however deep: a field that
// Equal forgets would let a create go on under another spec.
func TestEqualSeesEveryField(t *testing.T) {
	spec := Spec{Name: "orders", Zones: []string{"a"}, Labels: map[string]string{"team": "shop"}}.WithDefaults()
	changed := 0
	var walk func(path string, field func(*Spec) reflect.Value)
	walk = func(path string, field func(*Spec) reflect.Value) {
		other := spec.Clone()
		v := field(&other)
		if v.Kind() == reflect.Struct {
			for i := range v.NumField() {
				walk(path+"."+v.Type().Field(i).Name, func(s *Spec) reflect.Value { return field(s).Field(i) })
			}
			return
		}
		switch v.Kind() {
		case reflect.String:
			v.SetString(v.String() + "x")
		case reflect.Int, reflect.Int64:
			v.SetInt(v.Int() + 1)
		case reflect.Bool:
			v.SetBool(!v.Bool())
		case reflect.Slice:
			v.Set(reflect.ValueOf([]string{"b"}))
		case reflect.Map:
			v.Set(reflect.ValueOf(map[string]string{"team": "till"}))
		default:
			t.Fatalf("%s is of a kind that this test does not know: %s", path, v.Kind())
		}
		changed++
		require.False(t, spec.Equal(other), "specs that differ in %s are not equal", path)
	}
	walk("spec", func(s *Spec) reflect.Value { return reflect.ValueOf(s).Elem() })
	require.Greater(t, changed, 15)
	require.True(t, spec.Equal(spec.Clone()))
}
