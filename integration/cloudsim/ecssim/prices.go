package ecssim

import (
	"cmp"
	"net/http"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
)

const (
	// leastSystemDisk is the size of a system disk that a request leaves open, and
	// mostSystemDisk the largest, in GiB (DescribePrice, SystemDisk.Size).
	leastSystemDisk = 40
	mostSystemDisk  = 500
	// offList is what an account pays of list prices here, so that the two differ.
	offList = 0.9
)

// describePrice tells the pay-as-you-go prices of an hour: of an instance with its system
// disk, or of a disk.
func (f *Face) describePrice(q *query) (map[string]any, error) {
	unit := cmp.Or(q.Text("PriceUnit"), "Hour")
	if unit != "Hour" { // the others are of subscriptions
		return nil, faultf(http.StatusBadRequest, "InvalidPriceUnit.ValueNotSupported", "The specified parameter PriceUnit is not valid.")
	}
	if n, err := q.number("Period"); err != nil || n != 0 && n != 1 {
		return nil, faultf(http.StatusBadRequest, "InvalidPeriod", "The specified period is not valid.")
	}
	var price float64
	var err error
	switch cmp.Or(q.Text("ResourceType"), "instance") {
	case "instance":
		price, err = f.instancePrice(q)
	case "disk":
		price, err = f.dataDiskPrice(q)
	default:
		err = faultf(http.StatusBadRequest, "InvalidResourceType.ValueNotSupported", "The specified parameter ResourceType is not valid.")
	}
	if err != nil {
		return nil, err
	}
	if err := q.rest(); err != nil {
		return nil, err
	}
	if price == 0 {
		return nil, faultf(http.StatusBadRequest, "PriceNotFound", "The price of your queried resource is not available now, please try other resources.")
	}
	return map[string]any{"PriceInfo": map[string]any{
		"Price": map[string]any{
			"Currency": f.world.Catalogue().Prices.Currency, "OriginalPrice": price, "DiscountPrice": price * (1 - offList), "TradePrice": price * offList,
		},
		"Rules": map[string]any{"Rule": []any{}},
	}}, nil
}

// instancePrice gives zero for what has no price.
func (f *Face) instancePrice(q *query) (float64, error) {
	name := q.Text("InstanceType")
	if name == "" {
		return 0, faultf(http.StatusNotFound, "InvalidInstanceType.Missing", "The InstanceType parameter that is mandatory for processing the request is not provided.")
	}
	c := f.world.Catalogue()
	if _, ok := c.Type(name); !ok {
		return 0, &cloudsim.Refusal{Code: cloudsim.NoType, Resource: name}
	}
	size, err := q.number("SystemDisk.Size")
	if size = cmp.Or(size, leastSystemDisk); err != nil || size < 20 || size > mostSystemDisk {
		return 0, faultf(http.StatusNotFound, "InvalidSystemDiskSize.ValueNotSupported", "The specified parameter SystemDisk.Size is invalid.")
	}
	disk, ok := f.diskPrice(cmp.Or(q.Text("SystemDisk.Category"), "cloud_efficiency"), q.Text("SystemDisk.PerformanceLevel"), size)
	if !ok {
		return 0, faultf(http.StatusBadRequest, "InvalidSystemDiskCategory.ValueNotSupported", `The specified parameter "SystemDisk.Category" is not valid.`)
	}
	if c.Prices.Types[name] == 0 {
		return 0, nil
	}
	return c.Prices.Types[name] + disk, nil
}

// dataDiskPrice is likewise, of a disk alone.
func (f *Face) dataDiskPrice(q *query) (float64, error) {
	category := q.Text("DataDisk.1.Category")
	if category == "" {
		return 0, faultf(http.StatusNotFound, "InvalidDiskCategory.Missing", "The DataDisk.1.Category parameter that is mandatory for processing the request is not provided.")
	}
	size, err := q.number("DataDisk.1.Size")
	if err != nil || size <= 0 {
		return 0, faultf(http.StatusBadRequest, "InvalidDataDiskSize.ValueNotSupported", `The specified parameter "DataDisk.Size" is not valid.`)
	}
	level := q.Text("DataDisk.1.PerformanceLevel")
	c, _ := f.world.Catalogue().Category(category)
	price, ok := f.diskPrice(category, level, size)
	switch least := max(c.Min, c.Levels[cmp.Or(level, c.DefaultLevel)]); {
	case !ok:
		return 0, faultf(http.StatusBadRequest, "InvalidDataDiskCategory.ValueNotSupported", `The specified parameter "DataDisk.n.Category" is not valid.`)
	case fleet.Bytes(size)*fleet.GiB < least || fleet.Bytes(size)*fleet.GiB > c.Max:
		return 0, faultf(http.StatusBadRequest, "InvalidDataDiskSize.ValueNotSupported", "The specified DataDisk.n.Size beyond the permitted range, or the capacity of snapshot exceeds the size limit of the specified disk category.")
	}
	return price, nil
}

// diskPrice gives the price of so many GiB, and whether the category has the level.
func (f *Face) diskPrice(category, level string, size int) (float64, bool) {
	c, ok := f.world.Catalogue().Category(category)
	if !ok {
		return 0, false
	}
	key := category
	if level = cmp.Or(level, c.DefaultLevel); level != "" {
		key += ":" + level
		if _, ok := c.Levels[level]; !ok {
			return 0, false
		}
	}
	return f.world.Catalogue().Prices.GiB[key] * float64(size), true
}
